#include "fovea/train/trainer.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <chrono>
#include <optional>

#include "fovea/core/ceil_div.h"
#include "fovea/core/error.h"
#include "fovea/data/loader.h"
#include "fovea/models/network.h"
#include "fovea/train/evaluate.h"
#include "fovea/train/event_writer.h"
#include "fovea/train/log.h"
#include "fovea/train/run_folder.h"
#include "fovea/train/run_state.h"
#include "fovea/train/schedule.h"
#include "fovea/train/train_step.h"

namespace fovea::train {
namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::json;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

int64_t steps_of_epoch(const TrainerParts& parts) {
  const int64_t batches = parts.train->batches_per_epoch(), group = parts.config.accumulate;
  return ceil_div(batches, group);
}

}  // namespace

struct Trainer::State {
  State(TrainerParts parts_, RunFolder& folder_, TrainCallbacks callbacks_)
      : parts(std::move(parts_)),
        folder(folder_),
        callbacks(std::move(callbacks_)),
        steps_per_epoch(steps_of_epoch(parts)),
        total_steps(parts.config.max_steps > 0 ? parts.config.max_steps
                                               : parts.config.epochs * steps_per_epoch),
        schedule(parts.config, total_steps, steps_per_epoch),
        step(*parts.model, parts.config) {}

  void open();
  void resume(const Checkpoint& checkpoint);
  bool iterate(const std::atomic<bool>* stop);
  Error explain(const Error& error) const;
  void train_step();
  std::vector<data::Batch> next_batches();
  void log(const std::optional<ValidationReport>& validation);
  ValidationReport validate();
  void save(bool best);
  StepReport report() const;
  double seconds_left() const;
  TrainResult result(bool stopped) const;

  void note(const std::string& line) const {
    if (callbacks.on_note) callbacks.on_note(line);
  }
  bool epoch_ends() const { return progress.step % steps_per_epoch == 0; }
  /// From 1, of the last step done.
  int64_t epoch() const { return ceil_div(progress.step, steps_per_epoch); }

  TrainerParts parts;
  RunFolder& folder;
  TrainCallbacks callbacks;
  int64_t steps_per_epoch, total_steps;
  Schedule schedule;
  TrainStep step;
  RunProgress progress;
  std::optional<MetricsLog> metrics;
  std::optional<EventWriter> events;
  // Of this process: since when, seconds of earlier ones, start of the log interval, training and
  // validation time, steps and validations.
  Clock::time_point started = Clock::now(), interval_started = started;
  double seconds_before = 0.0, training_seconds = 0.0, validation_seconds = 0.0;
  int64_t steps_here = 0, validations_here = 0;
};

void Trainer::State::open() {
  if (parts.config.threads > 0) at::set_num_threads(static_cast<int>(parts.config.threads));
  parts.model->train();
  std::vector<std::string> notes;
  const std::optional<Checkpoint> checkpoint = folder.load_latest(notes);
  for (const std::string& line : notes) note(line);
  if (checkpoint) {
    resume(*checkpoint);
  } else {
    at::Generator generator = at::detail::getDefaultCPUGenerator();
    // Not the seed itself, from which the initial weights were drawn.
    generator.set_current_seed(static_cast<uint64_t>(parts.config.seed) ^ 0x9E3779B97F4A7C15u);
  }
  folder.write_config(parts.run_config);
  EventWriterOptions options;
  // Also without a checkpoint: a run that was killed before its first one has left events.
  if (std::filesystem::exists(folder.metrics_path())) options.resume_step = progress.step;
  metrics.emplace(folder.metrics_path(), progress.step);
  events.emplace(folder.path(), options);
  const int64_t in_epoch = progress.step % steps_per_epoch;
  parts.train->seek(progress.step / steps_per_epoch, in_epoch * parts.config.accumulate);
}

void Trainer::State::resume(const Checkpoint& checkpoint) {
  for (const std::string& line : check_resume(checkpoint.config, parts.run_config).notes) note(line);
  progress = unpack_run(checkpoint, *parts.model, step);
  seconds_before = progress.seconds;
  folder.set_pointers(checkpoint_name(progress.step), progress.best);
  note(fmt::format("resumed from {} ({} of {} steps done).", checkpoint_name(progress.step), progress.step,
                   total_steps));
}

std::vector<data::Batch> Trainer::State::next_batches() {
  const int64_t batches = parts.train->batches_per_epoch(), group = parts.config.accumulate;
  const int64_t first = progress.step % steps_per_epoch * group;
  const int64_t count = std::min(group, batches - first);
  std::vector<data::Batch> list;
  for (int64_t i = 0; i < count; ++i) list.push_back(std::move(parts.train->next().value()));
  if (first + count == batches) parts.train->next();  // The end of the epoch.
  return list;
}

void Trainer::State::train_step() {
  const auto start = Clock::now();
  const double lr = schedule.lr(progress.step);
  const StepOutcome outcome = step.run(next_batches(), lr, progress.step + 1);
  ++progress.step;
  ++steps_here;
  progress.interval_loss += outcome.loss;
  progress.interval_norm += outcome.grad_norm;
  progress.interval_correct += outcome.correct;
  progress.interval_samples += outcome.samples;
  ++progress.interval_steps;
  training_seconds += seconds_since(start);
}

/// One step and what follows it; true when `stop` ended the run.
bool Trainer::State::iterate(const std::atomic<bool>* stop) {
  train_step();
  const int64_t every = parts.config.checkpoint_every;
  const bool end = progress.step == total_steps || epoch_ends();
  const bool log_now = end || progress.step % parts.config.log_every == 0;
  if (log_now && callbacks.on_step) callbacks.on_step(report());
  std::optional<ValidationReport> validation;
  if (end && parts.val) validation = validate();
  if (log_now) log(validation);
  const bool stopped = stop != nullptr && stop->load() && progress.step < total_steps;
  if (end || stopped || (every > 0 && progress.step % every == 0)) save(validation && validation->best);
  if (validation && callbacks.on_validation) callbacks.on_validation(*validation);
  return stopped;
}

/// Adds to an error of numbers what the user needs to go on.
Error Trainer::State::explain(const Error& error) const {
  const std::string text = error.what(), last = folder.last();
  const std::string good = last.empty() ? "none was written yet" : (folder.path() / last).string();
  return numeric_error(
      "train", fmt::format("{} Last good checkpoint: {}. Lower lr, set clip_norm, or look at the data.",
                           text.substr(text.find("] ") + 2), good));
}

StepReport Trainer::State::report() const {
  StepReport report;
  report.step = progress.step;
  report.total_steps = total_steps;
  report.epoch = epoch();
  report.epochs = ceil_div(total_steps, steps_per_epoch);
  const double steps = static_cast<double>(progress.interval_steps);
  const double samples = static_cast<double>(progress.interval_samples);
  report.loss = progress.interval_loss / steps;
  report.accuracy = 100.0 * static_cast<double>(progress.interval_correct) / samples;
  report.lr = schedule.lr(progress.step - 1);
  report.grad_norm = progress.interval_norm / steps;
  report.samples_per_second = samples / seconds_since(interval_started);
  report.seconds_left = seconds_left();
  return report;
}

// A step that ends an epoch is told of before its validation.
double Trainer::State::seconds_left() const {
  const double a_step = training_seconds / static_cast<double>(steps_here);
  const double training = a_step * static_cast<double>(total_steps - progress.step);
  if (!parts.val) return training;
  const double a_validation = validations_here > 0
                                  ? validation_seconds / static_cast<double>(validations_here)
                                  : a_step * static_cast<double>(parts.val->batches_per_epoch()) /
                                        static_cast<double>(3 * parts.config.accumulate);
  const int64_t validations = ceil_div(total_steps, steps_per_epoch);
  return training + a_validation * static_cast<double>(validations - (progress.step - 1) / steps_per_epoch);
}

void Trainer::State::log(const std::optional<ValidationReport>& validation) {
  const StepReport r = report();
  nlohmann::ordered_json line = {{"step", r.step},
                                 {"epoch", r.epoch},
                                 {"loss", r.loss},
                                 {"accuracy", r.accuracy},
                                 {"lr", r.lr},
                                 {"grad_norm", r.grad_norm},
                                 {"samples_per_second", r.samples_per_second}};
  events->scalar("train/loss", r.loss, r.step);
  events->scalar("train/accuracy", r.accuracy, r.step);
  events->scalar("train/lr", r.lr, r.step);
  events->scalar("train/grad_norm", r.grad_norm, r.step);
  events->scalar("train/samples_per_second", r.samples_per_second, r.step);
  if (validation) {
    line["val_loss"] = validation->loss;
    line["val_top1"] = validation->top1;
    line["val_top5"] = validation->top5;
    events->scalar("val/loss", validation->loss, r.step);
    events->scalar("val/top1", validation->top1, r.step);
    events->scalar("val/top5", validation->top5, r.step);
  }
  metrics->write(line);
  progress.interval_loss = progress.interval_norm = 0.0;
  progress.interval_correct = progress.interval_samples = progress.interval_steps = 0;
  interval_started = Clock::now();
}

ValidationReport Trainer::State::validate() {
  const auto start = Clock::now();
  const EmaScope averages(step.ema());
  const ClassificationMetrics metrics_of_split = evaluate(*parts.model, *parts.val);
  ValidationReport validation = {progress.step,           epoch(),
                                 metrics_of_split.top1,   metrics_of_split.top5,
                                 metrics_of_split.loss,   metrics_of_split.top1 > progress.best_top1,
                                 metrics_of_split.classes};
  if (validation.best) {
    progress.best_top1 = validation.top1;
    progress.best = checkpoint_name(progress.step);
  }
  validation_seconds += seconds_since(start);
  ++validations_here;
  interval_started += Clock::now() - start;  // Rates are those of training.
  return validation;
}

void Trainer::State::save(bool best) {
  metrics->sync();
  progress.seconds = seconds_before + seconds_since(started);
  const auto start = Clock::now();
  folder.save(pack_run(*parts.model, step, progress, parts.run_config), best);
  interval_started += Clock::now() - start;
}

TrainResult Trainer::State::result(bool stopped) const {
  TrainResult result;
  result.step = progress.step;
  result.epochs = progress.step / steps_per_epoch;
  result.stopped = stopped;
  result.seconds = seconds_before + (steps_here > 0 ? seconds_since(started) : 0.0);
  result.best_top1 = progress.best_top1;
  result.last = folder.last();
  result.best = folder.best();
  return result;
}

Trainer::Trainer(TrainerParts parts, RunFolder& folder, TrainCallbacks callbacks)
    : state_(std::make_unique<State>(std::move(parts), folder, std::move(callbacks))) {}

Trainer::~Trainer() = default;

TrainResult Trainer::run(const std::atomic<bool>* stop) {
  State& s = *state_;
  s.started = s.interval_started = Clock::now();
  s.open();
  bool stopped = false;
  while (s.progress.step < s.total_steps && !stopped) {
    try {
      stopped = s.iterate(stop);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::numeric) throw;
      throw s.explain(error);
    }
  }
  return s.result(stopped);
}

}  // namespace fovea::train

#include "fovea/explain/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "fovea/core/grouped.h"
#include "fovea/explain/html.h"
#include "fovea/explain/page.h"

namespace fovea::explain {
namespace {

constexpr const char* kNone = "&ndash;";
constexpr const char* kThinSpace = "\xE2\x80\x89";

std::string percent(const std::optional<double>& value) {
  return value ? fmt::format("{:.2f}%", *value) : kNone;
}

std::string duration(const std::optional<double>& seconds) {
  if (!seconds) return kNone;
  if (*seconds < 120) return fmt::format("{:.0f} s", *seconds);
  return fmt::format("{:.0f} min {:.0f} s", std::floor(*seconds / 60), std::fmod(*seconds, 60));
}

std::string results_table(const std::vector<ModelReport>& models) {
  const bool top5 = std::any_of(models.begin(), models.end(),
                                [](const ModelReport& model) { return model.top5.has_value(); });
  std::vector<std::string> labels = {"Top-1", "Training", "Parameters", "Epochs", "Top-5", "Loss"};
  if (!top5) std::erase(labels, "Top-5");
  std::string out = R"(<div class="scroll"><table class="facts"><thead><tr><th>Model</th>)";
  for (const auto& label : labels) out += "<th>" + label + "</th>";
  out += "</tr></thead><tbody>";
  for (const auto& model : models) {
    out += fmt::format("<tr><td><b>{}</b>", escape_html(model.title));
    if (!model.name.empty() && model.name != model.title)
      out += fmt::format("<small>{}</small>", escape_html(model.name));
    out += "</td>";
    std::vector<std::string> values = {
        "<b>" + percent(model.top1) + "</b>", duration(model.seconds),
        model.parameters ? grouped_number(*model.parameters, kThinSpace) : kNone,
        model.epochs ? std::to_string(*model.epochs) : kNone};
    if (top5) values.push_back(percent(model.top5));
    values.push_back(model.loss ? fmt::format("{:.4f}", *model.loss) : kNone);
    // A narrow page puts the label above each value.
    for (size_t i = 0; i < labels.size(); ++i)
      out += fmt::format(R"(<td data-label="{}">{}</td>)", labels[i], values[i]);
    out += "</tr>";
  }
  return out + "</tbody></table></div>";
}

std::string curves(const std::vector<ModelReport>& models) {
  std::string out;
  for (const auto& model : models) {
    for (const auto& chart : model.charts) {
      out += fmt::format("<div><h3>{}</h3>{}</div>",
                         escape_html(chart.title.empty() ? model.title : model.title + ": " + chart.title),
                         line_chart_svg(chart));
    }
  }
  return out.empty() ? out : R"(<div class="pair">)" + out + "</div>";
}

std::string confusions(const std::vector<ModelReport>& models) {
  std::string out;
  for (const auto& model : models) {
    if (model.confusion.classes.empty()) continue;
    out += fmt::format("<div><h3>{}</h3>{}</div>", escape_html(model.title), confusion_html(model.confusion));
  }
  if (out.empty()) return out;
  return R"(<p class="lead">Rows are true classes, columns predictions; the shade grows with the square )"
         R"(root of the share of the row, so that rare mistakes show.</p><div class="pair">)" +
         out + "</div>";
}

}  // namespace

std::string render_report(const Report& report) {
  Page page{report.title, report.subtitle, {}, report.footer};
  const auto add = [&page](const char* title, const std::string& html) {
    if (!html.empty()) page.sections.push_back({title, html});
  };
  if (!report.models.empty()) add("Results", results_table(report.models));
  add("Training", curves(report.models));
  add("Confusion matrices", confusions(report.models));
  if (!report.gallery.empty()) {
    const std::string note = report.gallery_note.empty()
                                 ? ""
                                 : fmt::format(R"(<p class="lead">{}</p>)", escape_html(report.gallery_note));
    add("Where the networks look", note + gallery_html(report.gallery));
  }
  return render_page(page);
}

}  // namespace fovea::explain

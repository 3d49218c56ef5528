// Which of this machine's copyright files grant the GPL? A hierarchical attention network learns it from
// whole files, and its heat maps show the sentence that told it.
//
//   example_hierarchical_documents [FOLDER]
#include <ATen/ATen.h>
#include <torch/nn/functional/loss.h>
#include <torch/nn/modules/embedding.h>
#include <torch/optim/adam.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>
#include <vector>

#include "examples/arguments.h"
#include "fovea/explain/heatmap.h"
#include "fovea/io/image.h"
#include "fovea/nn/attention/hierarchical_attention.h"

namespace {

namespace fs = std::filesystem;
using Sentence = std::vector<std::string>;

constexpr size_t kDocuments = 160, kSentences = 24, kWords = 16;
constexpr int64_t kBuckets = 2000;

struct Document {
  std::vector<Sentence> sentences;
  int64_t grants_gpl = 0;
};

// Letters and digits, in small letters; at most kWords of a line.
Sentence words_of(const std::string& line) {
  Sentence words(1);
  for (const char c : line) {
    if (std::isalnum(static_cast<unsigned char>(c))) {
      words.back() += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else if (!words.back().empty() && words.size() < kWords) {
      words.emplace_back();
    } else if (!words.back().empty()) {
      return words;
    }
  }
  if (words.back().empty()) words.pop_back();
  return words;
}

Document document_of(const fs::path& file) {
  Document document;
  std::ifstream in(file);
  for (std::string line; document.sentences.size() < kSentences && std::getline(in, line);) {
    Sentence words = words_of(line);
    if (words.size() < 2) continue;
    for (const auto& word : words) document.grants_gpl |= word == "gpl" || word == "lgpl" ? 1 : 0;
    document.sentences.push_back(std::move(words));
  }
  return document;
}

std::vector<Document> documents_of_machine() {
  std::vector<fs::path> files;
  std::error_code none;
  for (const auto& folder : fs::directory_iterator("/usr/share/doc", none)) {
    if (fs::is_regular_file(folder.path() / "copyright", none)) files.push_back(folder.path() / "copyright");
  }
  std::sort(files.begin(), files.end());
  std::vector<Document> documents;
  for (const auto& file : files) {
    Document document = document_of(file);
    if (!document.sentences.empty()) documents.push_back(std::move(document));
    if (documents.size() == kDocuments) break;
  }
  return documents;
}

// Words by the remainder of a hash, and offsets as the network takes them.
struct Batch {
  std::vector<int64_t> words, sentences = {0}, documents = {0}, labels;

  void add(const Document& document) {
    for (const auto& sentence : document.sentences) {
      for (const auto& word : sentence) {
        uint64_t hash = 14695981039346656037u;  // FNV-1a
        for (const char c : word) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
        words.push_back(static_cast<int64_t>(hash % kBuckets));
      }
      sentences.push_back(static_cast<int64_t>(words.size()));
    }
    documents.push_back(static_cast<int64_t>(sentences.size()) - 1);
    labels.push_back(document.grants_gpl);
  }
};

struct Classifier : torch::nn::Module {
  torch::nn::Embedding embedding{nullptr};
  fovea::nn::HierarchicalAttention network{nullptr};
  fovea::nn::Linear classifier{nullptr};

  Classifier() {
    embedding = register_module("embedding", torch::nn::Embedding(kBuckets, 24));
    const fovea::nn::HierarchicalAttentionOptions sizes{.size = 24, .word_hidden = 16, .sentence_hidden = 16};
    network = register_module("network", fovea::nn::HierarchicalAttention(sizes));
    classifier = register_module("classifier", fovea::nn::Linear(32, 2));
  }

  std::pair<at::Tensor, fovea::nn::DocumentVectors> forward(const Batch& batch) {
    const auto words = embedding->forward(at::tensor(batch.words));
    const auto sentences = at::tensor(batch.sentences), documents = at::tensor(batch.documents);
    const auto read = network->forward(words, sentences, documents);
    const auto scores = classifier->forward(read.out);
    return {scores, read};
  }
};

void train(Classifier& model, const std::vector<Document>& documents) {
  torch::optim::Adam optimizer(model.parameters(), torch::optim::AdamOptions(5e-3));
  constexpr size_t kBatch = 15;
  for (int epoch = 0; epoch < 8; ++epoch) {
    const at::Tensor order = at::randperm(static_cast<int64_t>(documents.size()));
    for (size_t begin = 0; begin < documents.size(); begin += kBatch) {
      Batch batch;
      for (size_t i = begin; i < std::min(begin + kBatch, documents.size()); ++i) {
        batch.add(documents[static_cast<size_t>(order[static_cast<int64_t>(i)].item<int64_t>())]);
      }
      optimizer.zero_grad();
      torch::nn::functional::cross_entropy(model.forward(batch).first, at::tensor(batch.labels)).backward();
      optimizer.step();
    }
  }
}

double per_cent(const at::Tensor& which) { return 100.0 * which.to(at::kDouble).mean().item<double>(); }

// A row a sentence: what it weighed in the document, then its words, each as bright as the product of both,
// and both by the root of their part of the largest.
void draw(const Document& document, const fovea::nn::DocumentVectors& maps, const fs::path& file) {
  const auto count = static_cast<int64_t>(document.sentences.size());
  const at::Tensor picture = at::zeros({count, static_cast<int64_t>(kWords) + 2});
  int64_t word = 0;
  for (int64_t s = 0; s < count; ++s) {
    const auto length = static_cast<int64_t>(document.sentences[static_cast<size_t>(s)].size());
    picture[s][0] = maps.sentences[s];
    picture[s].narrow(0, 2, length) = maps.words.narrow(0, word, length) * maps.sentences[s];
    word += length;
  }
  for (const auto& part : {picture.slice(1, 0, 1), picture.slice(1, 2)}) part.div_(part.max()).sqrt_();
  const at::Tensor large = picture.repeat_interleave(12, 0).repeat_interleave(12, 1);
  fovea::io::write_png(file, fovea::explain::colourise(large));
}

std::string text_of(const Sentence& sentence) {
  return std::accumulate(
      sentence.begin(), sentence.end(), std::string(),
      [](const std::string& a, const std::string& b) { return a.empty() ? b : a + ' ' + b; });
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments(argc, argv, "example_hierarchical_documents [FOLDER]");
  const std::vector<Document> all = documents_of_machine();
  std::vector<Document> known;
  Batch unknown;
  const Document* shown = nullptr;
  for (size_t i = 0; i < all.size(); ++i) {
    if (i % 4 != 0) {
      known.push_back(all[i]);
      continue;
    }
    unknown.add(all[i]);
    if (!shown && all[i].grants_gpl && all[i].sentences.size() > 8) shown = &all[i];
  }
  if (known.size() < 60 || !shown) {
    std::puts("This machine has too few copyright files.");
    return 0;
  }
  at::manual_seed(0);
  Classifier model;
  train(model, known);

  const torch::NoGradGuard no_grad;
  const at::Tensor labels = at::tensor(unknown.labels);
  const double accuracy = per_cent(model.forward(unknown).first.argmax(1) == labels),
               gpl = per_cent(labels == 1), majority = std::max(gpl, 100 - gpl);
  std::printf("%zu files of which to learn, %lld others: %.1f %% right (always the same answer: %.1f %%)\n",
              known.size(), static_cast<long long>(labels.size(0)), accuracy, majority);

  Batch one;
  one.add(*shown);
  const auto maps = model.forward(one).second;
  const auto best = static_cast<size_t>(maps.sentences.argmax().item<int64_t>());
  std::printf("the sentence that one was told by: %s\n", text_of(shown->sentences[best]).c_str());
  const fs::path file = arguments.folder / "hierarchical_documents.png";
  draw(*shown, maps, file);
  std::printf("its heat maps: %s\n", file.c_str());
  return exit_code(accuracy >= majority, "it is right more often than one answer to everything");
}

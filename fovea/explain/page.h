#pragma once
#include <string>
#include <vector>

namespace fovea::explain {

/// A part of a page. `html` is taken as it is: whoever makes it escapes its text (escape_html).
struct PageSection {
  std::string title;
  std::string html;
};

struct Page {
  std::string title;
  std::string subtitle;  ///< one or two sentences under the title; may be empty
  std::vector<PageSection> sections;
  std::string footer;  ///< for example the command that made the page
};

/// One self-contained HTML file: style, script and pictures are inline, nothing is fetched, it opens from
/// disk, in light or dark as the reader's system says, wide or on a phone. Title, subtitle and footer are
/// escaped.
std::string render_page(const Page& page);

}  // namespace fovea::explain

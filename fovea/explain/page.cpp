#include "fovea/explain/page.h"

#include <fmt/format.h>

#include "fovea/explain/html.h"
#include "fovea/explain/page_style.h"

namespace fovea::explain {

std::string render_page(const Page& page) {
  std::string out = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
      "<meta name=\"color-scheme\" content=\"light dark\"><title>{}</title><style>{}</style></head>\n"
      "<body><main><header class=\"top\"><h1>{}</h1>",
      escape_html(page.title), kPageStyle, escape_html(page.title));
  if (!page.subtitle.empty()) out += fmt::format("<p>{}</p>", escape_html(page.subtitle));
  out += "</header>\n";
  for (const auto& section : page.sections) {
    out += "<section>";
    if (!section.title.empty()) out += fmt::format("<h2>{}</h2>", escape_html(section.title));
    out += section.html + "</section>\n";
  }
  if (!page.footer.empty()) out += fmt::format("<footer>{}</footer>", escape_html(page.footer));
  return out + fmt::format("</main><script>{}</script></body></html>\n", kPageScript);
}

}  // namespace fovea::explain

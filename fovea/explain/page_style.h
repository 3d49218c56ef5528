#pragma once

namespace fovea::explain {

/// The style and the script that render_page puts into every page.
extern const char* const kPageStyle;
extern const char* const kPageScript;

}  // namespace fovea::explain

#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace fovea::io {

/// The content of a file that may be gzipped, which its first two bytes tell, not its name.
///
/// Several gzip members in a row are joined; zero bytes after the last are ignored, as gzip does. `limit`
/// bounds both the file and what it unpacks to, in bytes, so that a small file cannot fill the memory. Throws
/// data_error naming the file if it cannot be read, is truncated, damaged or too large.
std::string read_maybe_gzip(const std::filesystem::path& path, uint64_t limit);

/// The same for bytes in memory; `where` names them in messages.
std::string unpack_maybe_gzip(std::string_view bytes, std::string_view where, uint64_t limit);

}  // namespace fovea::io

#include "fovea/io/gzip.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <limits>
#include <new>

#include "fovea/core/error.h"
#include "fovea/io/file.h"

namespace fovea::io {
namespace {

constexpr std::string_view kMagic = "\x1f\x8b";
constexpr int kGzipWindow = 15 + 16;  // zlib: the largest window, gzip framing only

class Inflater {
 public:
  Inflater(std::string_view input, std::string_view where, uint64_t limit)
      : input_(input), where_(where), limit_(limit) {
    if (inflateInit2(&stream_, kGzipWindow) != Z_OK) throw std::bad_alloc();
  }
  ~Inflater() { inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  std::string run() {
    std::string out;
    while (input_.starts_with(kMagic)) {
      member(out);
      inflateReset(&stream_);
    }
    if (input_.find_first_not_of('\0') != std::string_view::npos) {
      fail("nothing may follow the last gzip member", fmt::format("{} more bytes", input_.size()));
    }
    return out;
  }

 private:
  // Appends one member, from its header to its check sum.
  void member(std::string& out) {
    for (;;) {
      const size_t used = out.size();
      // Never more than one byte beyond the limit, by which too much is noticed.
      const uint64_t room = std::min<uint64_t>(std::max<uint64_t>(used, 1u << 16), limit_ - used + 1);
      out.resize(used + std::min<uint64_t>(room, 1u << 30));
      stream_.next_out = reinterpret_cast<Bytef*>(out.data() + used);
      stream_.avail_out = static_cast<uInt>(out.size() - used);
      const int status = step();
      out.resize(out.size() - stream_.avail_out);
      if (out.size() > limit_) {
        throw data_error(where_,
                         fmt::format("the unpacked content must have at most {} bytes; found more. Check "
                                     "that this is the file you meant.",
                                     limit_));
      }
      if (status == Z_STREAM_END) return;
    }
  }

  int step() {
    const auto given = static_cast<uInt>(std::min<size_t>(input_.size(), std::numeric_limits<uInt>::max()));
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input_.data()));
    stream_.avail_in = given;
    const int status = inflate(&stream_, Z_NO_FLUSH);
    input_.remove_prefix(given - stream_.avail_in);
    if (status == Z_MEM_ERROR) throw std::bad_alloc();
    if (status == Z_BUF_ERROR || (status == Z_OK && input_.empty() && stream_.avail_out > 0)) {
      fail("a gzip file must be complete", "its end missing (truncated)");
    }
    if (status != Z_OK && status != Z_STREAM_END) {
      fail("a gzip file must be undamaged", stream_.msg ? stream_.msg : "a preset dictionary");
    }
    return status;
  }

  [[noreturn]] void fail(std::string_view rule, std::string_view found) const {
    throw data_error(where_, fmt::format("{}; found {}. Fetch or copy the file again.", rule, found));
  }

  std::string_view input_, where_;
  uint64_t limit_;
  z_stream stream_{};
};

}  // namespace

std::string unpack_maybe_gzip(std::string_view bytes, std::string_view where, uint64_t limit) {
  if (bytes.starts_with(kMagic)) return Inflater(bytes, where, std::min(limit, kNoLimit - 1)).run();
  if (bytes.size() > limit) {
    throw data_error(where,
                     fmt::format("the content must have at most {} bytes; found {}. Check that this is the "
                                 "file you meant.",
                                 limit, bytes.size()));
  }
  return std::string(bytes);
}

std::string read_maybe_gzip(const std::filesystem::path& path, uint64_t limit) {
  std::string content = read_file(path, limit);
  if (!content.starts_with(kMagic)) return content;
  return unpack_maybe_gzip(content, path.string(), limit);
}

}  // namespace fovea::io

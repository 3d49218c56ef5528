#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace fovea::cli {

/// Reads a JSON text as strictly as a configuration deserves: a key given twice and a number beyond double
/// are refused, besides what JSON itself refuses (NaN). `where` names it in errors: Error (usage).
nlohmann::json parse_strictly(const std::string& text, const std::string& where);

/// A configuration file: one JSON object. Throws Error (usage) when it is missing or malformed.
nlohmann::json read_settings(const std::filesystem::path& file);

/// Lays `above` over `settings`: objects key by key, everything else replaced.
void merge_settings(nlohmann::json& settings, const nlohmann::json& above);

/// `key` dotted: `model.patch_size` sets settings["model"]["patch_size"]. Throws Error (usage) when a part of
/// the path holds a plain value, or is empty.
void assign(nlohmann::json& settings, const std::string& key, nlohmann::json value);

/// `key=value` of --set: a value that reads as JSON is that, any other is text.
void assign_text(nlohmann::json& settings, const std::string& key_and_value);

}  // namespace fovea::cli

// The tiles of one instruction set; see each_isa.inl.

KERNEL void scale(const ScoreTile& tile, float factor) {
  for (int32_t r = 0; r < tile.rows; ++r) {
    float* row = tile.scores + r * tile.stride;
    for (int32_t c = 0; c < tile.columns; c += FOVEA_LANES) store(row + c, load(row + c, F{}) * factor);
  }
}

KERNEL void hide(const ScoreTile& tile, int64_t inside) {
  const auto first = static_cast<int32_t>(std::max<int64_t>(inside, 0)), whole = (first + FOVEA_LANES - 1) / FOVEA_LANES * FOVEA_LANES;
  for (int32_t r = 0; r < tile.rows; ++r) {
    float* row = tile.scores + r * tile.stride;
    for (int32_t c = first; c < whole; ++c) row[c] = -kInfinity;
    for (int32_t c = whole; c < tile.columns; c += FOVEA_LANES) store(row + c, broadcast(-kInfinity, F{}));
  }
}

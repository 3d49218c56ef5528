// The tiles of one instruction set; see each_isa.inl.

KERNEL void scale(const ScoreTile& tile, float factor) {
  for (int32_t r = 0; r < tile.rows; ++r) {
    float* row = tile.scores + r * tile.stride;
    for (int32_t c = 0; c < tile.columns; c += FOVEA_LANES) store(row + c, load(row + c, F{}) * factor);
  }
}

KERNEL void hide(const ScoreTile& tile, int64_t inside) {
  const auto first = static_cast<int32_t>(std::max<int64_t>(inside, 0)), begin = first / FOVEA_LANES * FOVEA_LANES;
  NI lanes;
  for (int32_t l = 0; l < FOVEA_LANES; ++l) lanes[l] = begin + l;
  const NI seen = lanes < first;
  for (int32_t r = 0; r < tile.rows; ++r) {
    float* row = tile.scores + r * tile.stride;
    NF& mixed = *reinterpret_cast<NF*>(row + begin);
    mixed = seen ? mixed : NF{} - kInfinity;
    for (int32_t c = begin + FOVEA_LANES; c < tile.columns; c += FOVEA_LANES) {
      store(row + c, broadcast(-kInfinity, F{}));
    }
  }
}

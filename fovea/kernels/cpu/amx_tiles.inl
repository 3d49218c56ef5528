// Tile registers and products of them; of avx512 with AMX, see each_isa.inl.

// Tile instructions read and write memory behind the compiler's back.
#define TILES_MEET_MEMORY() __asm__ volatile("" ::: "memory")

// Rows of a tile register, and the columns of two beside each other.
static constexpr int32_t kTileRows = 16, kCorner = 32;

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes[16] = {};
  uint8_t rows[16] = {};
};

// Makes all registers whole, 16 rows of 64 bytes, and returns how oneDNN's products left them.
INLINE TileConfig use_whole_tiles() {
  TileConfig before, whole;
  std::fill_n(whole.bytes, 8, uint16_t{64});
  std::fill_n(whole.rows, 8, uint8_t{kTileRows});
  _tile_storeconfig(&before);
  _tile_loadconfig(&whole);
  return before;
}

// Products of kRows x 16 rows and kColumns x 16 columns, 1 or 2 each, left in registers 0 (and 1), 2 (and 3). `work`
// is called between them, its i-th part of so many: the vector units need not wait.
template <int kRows, int kColumns, class Work>
INLINE void multiply(const ProductOperands<c10::BFloat16>& p, const Work& work) {
  constexpr int32_t products = kRows * kColumns;
  const int64_t row = p.a_stride * sizeof(c10::BFloat16), pair = 2 * p.b_stride * sizeof(c10::BFloat16);
  const int32_t parts = static_cast<int32_t>(p.dim) / 32 * products;
  int32_t part = 0;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t d = 0; d < p.dim; d += 32) {
    const c10::BFloat16 *a = p.a + d, *b = p.b + d * p.b_stride;
    TILES_MEET_MEMORY();
    _tile_loadd(4, a, row);
    _tile_loadd(6, b, pair);
    _tile_dpbf16ps(0, 4, 6);
    work(part++, parts);
    if constexpr (kColumns == 2) {
      _tile_loadd(7, b + 32, pair);
      _tile_dpbf16ps(1, 4, 7);
      work(part++, parts);
    }
    if constexpr (kRows == 2) {
      _tile_loadd(5, a + kTileRows * p.a_stride, row);
      _tile_dpbf16ps(2, 5, 6);
      work(part++, parts);
    }
    if constexpr (products == 4) {
      _tile_dpbf16ps(3, 5, 7);
      work(part++, parts);
    }
  }
}

// The products to memory, kCorner apart.
template <int kRows, int kColumns>
INLINE void store_products(float* to) {
  constexpr int64_t row = kCorner * sizeof(float);
  _tile_stored(0, to, row);
  if constexpr (kColumns == 2) _tile_stored(1, to + kTileRows, row);
  if constexpr (kRows == 2) _tile_stored(2, to + kTileRows * kCorner, row);
  if constexpr (kRows * kColumns == 4) _tile_stored(3, to + kTileRows * kCorner + kTileRows, row);
  TILES_MEET_MEMORY();
}

#undef TILES_MEET_MEMORY

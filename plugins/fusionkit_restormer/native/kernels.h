// Vector kernels of the two-source Restormer network: matrix products, 3x3 convolutions, norms, GELU.
//
// Rows of pixels lie in groups of 16 channels, [group][pixel][16]: a product then writes whole groups, a 3x3
// convolution of a group reads three short contiguous rows, and both stay in the first-level cache.
//
// Compiled once for each instruction set (FORM names it); GCC's and Clang's vector types do the rest.
#pragma once

#include <cmath>
#include <cstring>

// Called in many places: not copied into each of them.
#define KEPT __attribute__((noinline))

namespace FORM {

constexpr int GROUP = 16;  // channels that lie together
constexpr int LANES = 8;

typedef float Vec __attribute__((vector_size(32)));
typedef float Unaligned __attribute__((vector_size(32), aligned(4), may_alias));

static inline Vec load(const float* from) { return *reinterpret_cast<const Unaligned*>(from); }
static inline void store(float* to, Vec x) { *reinterpret_cast<Unaligned*>(to) = x; }
static inline Vec all(float x) { return Vec{x, x, x, x, x, x, x, x}; }
static inline Vec least(Vec a, Vec b) { return a < b ? a : b; }
static inline Vec greatest(Vec a, Vec b) { return a > b ? a : b; }
static inline float sum(Vec x) { return ((x[0] + x[4]) + (x[1] + x[5])) + ((x[2] + x[6]) + (x[3] + x[7])); }

// Eight vectors to the vector of their sums.
static inline Vec sums(const Vec x[8]) {
  Vec half[4], quarter[2];
  for (int i = 0; i < 4; ++i) {
    Vec a = x[2 * i], b = x[2 * i + 1];
    half[i] = __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11) +
              __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15);
  }
  // half[i] holds four parts of x[2 i] and four of x[2 i + 1].
  for (int i = 0; i < 2; ++i) {
    Vec a = half[2 * i], b = half[2 * i + 1];
    quarter[i] = __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13) +
                 __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
  }
  // quarter[0]: 0 0 2 2 1 1 3 3, quarter[1]: 4 4 6 6 5 5 7 7
  Vec s = __builtin_shufflevector(quarter[0], quarter[1], 0, 2, 8, 10, 4, 6, 12, 14) +
          __builtin_shufflevector(quarter[0], quarter[1], 1, 3, 9, 11, 5, 7, 13, 15);
  // s: 0 2 4 6 1 3 5 7
  return __builtin_shufflevector(s, s, 0, 4, 1, 5, 2, 6, 3, 7);
}

// Pixels of a product that are held in registers at once.
#if defined(__AVX2__) || defined(__aarch64__)
constexpr int TILE = 6;
#else
constexpr int TILE = 2;
#endif

// TILES pixels of one group: out = start + sum over the parts of part * weights; every part has 16 channels.
template <int TILES>
static inline void product_tile(const float* const* parts, int count, long at, const float* weights, const float* start,
                                long start_step, float* out, long out_step) {
  Vec low[TILES], high[TILES];
#pragma GCC unroll 6
  for (int m = 0; m < TILES; ++m) {
    low[m] = load(start + m * start_step);
    high[m] = load(start + m * start_step + LANES);
  }
  for (int part = 0; part < count; ++part) {
    const float* from = parts[part] + at * GROUP;
#pragma GCC unroll 4
    for (int k = 0; k < GROUP; ++k) {
      Vec first = load(weights + k * GROUP), second = load(weights + k * GROUP + LANES);
#pragma GCC unroll 6
      for (int m = 0; m < TILES; ++m) {
        Vec x = all(from[m * GROUP + k]);
        low[m] += x * first;
        high[m] += x * second;
      }
    }
    weights += GROUP * GROUP;
  }
#pragma GCC unroll 6
  for (int m = 0; m < TILES; ++m) {
    store(out + m * out_step, low[m]);
    store(out + m * out_step + LANES, high[m]);
  }
}

// One group of a matrix product over `pixels` pixels. `start` is what the sums begin with: a bias (step 0) or a row.
KEPT static void product(const float* const* parts, int count, const float* weights, const float* start, long start_step,
                    float* out, long out_step, int pixels) {
  int p = 0;
  for (; p + TILE <= pixels; p += TILE)
    product_tile<TILE>(parts, count, p, weights, start + p * start_step, start_step, out + p * out_step, out_step);
  const float* s = start + p * start_step;
  float* o = out + p * out_step;
  switch (pixels - p) {
    case 5: product_tile<5>(parts, count, p, weights, s, start_step, o, out_step); break;
    case 4: product_tile<4>(parts, count, p, weights, s, start_step, o, out_step); break;
    case 3: product_tile<3>(parts, count, p, weights, s, start_step, o, out_step); break;
    case 2: product_tile<2>(parts, count, p, weights, s, start_step, o, out_step); break;
    case 1: product_tile<1>(parts, count, p, weights, s, start_step, o, out_step); break;
    default: break;
  }
}

// x (1 + erf(x / sqrt 2)) / 2, erf by a quotient of polynomials (Eigen's coefficients), to float32's rounding.
static inline Vec gelu(Vec x) {
  constexpr float ABOVE[] = {-1.60960333262415e-02f, -2.95459980854025e-03f, -7.34990630326855e-04f,
                             -5.69250639462346e-05f, -2.10102402082508e-06f, 2.77068142495902e-08f,
                             -2.72614225801306e-10f};
  constexpr float BELOW[] = {-1.42647390514189e-02f, -7.37332916720468e-03f, -1.68282697438203e-03f,
                             -2.13374055278905e-04f, -1.45660718464996e-05f};
  Vec within = least(greatest(x * all(0.70710678118654752f), all(-4.f)), all(4.f));
  Vec square = within * within, above = all(ABOVE[6]), below = all(BELOW[4]);
#pragma GCC unroll 6
  for (int i = 5; i >= 0; --i) above = above * square + all(ABOVE[i]);
#pragma GCC unroll 4
  for (int i = 3; i >= 0; --i) below = below * square + all(BELOW[i]);
  Vec half = x * all(0.5f);
  return half + half * (within * above / below);
}

struct Plain {
  Vec operator()(Vec x, const float*) const { return x; }
};
struct Gelu {
  Vec operator()(Vec x, const float*) const { return gelu(x); }
};
struct Times {
  Vec operator()(Vec x, const float* there) const { return x * load(there); }
};

// A 3x3 convolution of every channel of a group by itself, then `finish`. Rows begin one pixel left of the first output.
template <class Finish>
KEPT static void depthwise(const float* above, const float* here, const float* below, const float* weights, float* out,
                      int pixels, Finish finish) {
  const float* rows[3] = {above, here, below};
  for (int half = 0; half < GROUP; half += LANES) {
    Vec w[9];
#pragma GCC unroll 9
    for (int t = 0; t < 9; ++t) w[t] = load(weights + t * GROUP + half);
    int p = 0;
    for (; p + 4 <= pixels; p += 4) {
      Vec y[4] = {};
#pragma GCC unroll 3
      for (int d = 0; d < 3; ++d) {
        const float* x = rows[d] + p * GROUP + half;
#pragma GCC unroll 6
        for (int i = 0; i < 6; ++i) {
          Vec t = load(x + i * GROUP);
#pragma GCC unroll 3
          for (int e = 0; e < 3; ++e)
            if (i - e >= 0 && i - e < 4) y[i - e] += t * w[3 * d + e];
        }
      }
      float* o = out + p * GROUP + half;
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) store(o + i * GROUP, finish(y[i], o + i * GROUP));
    }
    for (; p < pixels; ++p) {
      Vec y = {};
      for (int d = 0; d < 3; ++d)
        for (int e = 0; e < 3; ++e) y += load(rows[d] + (p + e) * GROUP + half) * w[3 * d + e];
      float* o = out + p * GROUP + half;
      store(o, finish(y, o));
    }
  }
}

// (x - mean) / sqrt(variance + 1e-5) over the channels of every pixel; rows hold a multiple of eight pixels.
KEPT static void normalise(const float* x, float* out, int groups, long group_step, int pixels) {
  const float share = 1.f / (groups * GROUP);
  for (int p = 0; p < pixels; p += 8) {
    Vec part[8];
    float mean[8], factor[8];
    for (int i = 0; i < 8; ++i) {
      const float* from = x + (p + i) * GROUP;
      part[i] = load(from) + load(from + LANES);
      for (int g = 1; g < groups; ++g) part[i] += load(from + g * group_step) + load(from + g * group_step + LANES);
    }
    store(mean, sums(part) * all(share));
    for (int i = 0; i < 8; ++i) {
      Vec m = all(mean[i]);
      Vec squares = {};
      for (int g = 0; g < groups; ++g) {
        const float* from = x + g * group_step + (p + i) * GROUP;
        float* to = out + g * group_step + (p + i) * GROUP;
        Vec a = load(from) - m, b = load(from + LANES) - m;
        store(to, a);
        store(to + LANES, b);
        squares += a * a;
        squares += b * b;
      }
      part[i] = squares;
    }
    Vec variance = sums(part) * all(share) + all(1e-5f);
    for (int i = 0; i < 8; ++i) factor[i] = 1.f / std::sqrt(variance[i]);
    for (int g = 0; g < groups; ++g)
      for (int i = 0; i < 8; ++i) {
        float* to = out + g * group_step + (p + i) * GROUP;
        store(to, load(to) * all(factor[i]));
        store(to + LANES, load(to + LANES) * all(factor[i]));
      }
  }
}

// Sums over pixels that an attention map is made of, for one group of queries and one of keys.
struct Sums {
  double qq[GROUP] = {}, kk[GROUP] = {}, qk[LANES][GROUP] = {};  // qk[s][i]: query i times key partner(i, s)

  void add(const Sums& other) {
    for (int i = 0; i < GROUP; ++i) {
      qq[i] += other.qq[i];
      kk[i] += other.kk[i];
      for (int s = 0; s < LANES; ++s) qk[s][i] += other.qk[s][i];
    }
  }
};

// The key that query i meets at shift s in heads of SIZE channels.
static inline int partner(int i, int s, int size) { return i / size * size + (i % size + s) % size; }

template <int SIZE>
static inline Vec shifted(Vec x, int s) {
  typedef int Lanes __attribute__((vector_size(32)));
  Lanes lanes;
  for (int i = 0; i < LANES; ++i) lanes[i] = i / SIZE * SIZE + (i % SIZE + s) % SIZE;
#if defined(__clang__)
  Vec y;
  for (int i = 0; i < LANES; ++i) y[i] = x[lanes[i]];
  return y;
#else
  return __builtin_shuffle(x, lanes);
#endif
}

template <int SIZE>
KEPT static void accumulate(const float* q, const float* k, int pixels, Sums& into) {
  for (int half = 0; half < GROUP; half += LANES) {
    Vec qq = {}, kk = {}, qk[SIZE] = {};
    for (int p = 0; p < pixels; ++p) {
      Vec x = load(q + p * GROUP + half), y = load(k + p * GROUP + half);
      qq += x * x;
      kk += y * y;
#pragma GCC unroll 8
      for (int s = 0; s < SIZE; ++s) qk[s] += x * shifted<SIZE>(y, s);
    }
    for (int i = 0; i < LANES; ++i) {
      into.qq[half + i] += qq[i];
      into.kk[half + i] += kk[i];
      for (int s = 0; s < SIZE; ++s) into.qk[s][half + i] += qk[s][i];
    }
  }
}

}  // namespace FORM

// Feature mutual information of the windows of a band of rows: see fusionkit/metrics/fmi.py for the formula.
// A plain C interface, so that ctypes can call it and no Python is needed to build it.
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

#if defined(_WIN32)
#define FUSIONKIT_API __declspec(dllexport)
#else
#define FUSIONKIT_API __attribute__((visibility("default")))
#endif

namespace {

constexpr int LANES = 64;  // windows side by side that are worked on together

// Natural logarithm of a positive normal number to a few units of the last place, in a form that compilers vectorise.
inline double logarithm(double x) {
  std::uint64_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  // Split at sqrt(1/2): x = 2^e m, m in [sqrt(1/2), sqrt(2)).
  const std::uint64_t shifted = bits + (0x3ff0000000000000ULL - 0x3fe6a09e667f3bcdULL);
  const std::uint64_t biased = (shifted >> 52) | 0x4330000000000000ULL;  // 2^52 plus the exponent, as a number
  const std::uint64_t mantissa = (shifted & 0x000fffffffffffffULL) + 0x3fe6a09e667f3bcdULL;
  double e, m;
  std::memcpy(&e, &biased, sizeof e);
  std::memcpy(&m, &mantissa, sizeof m);
  e -= 4503599627370496.0 + 1023.0;
  const double s = (m - 1) / (m + 1), z = s * s;
  double sum = 1.0 / 23;
  sum = sum * z + 1.0 / 21;
  sum = sum * z + 1.0 / 19;
  sum = sum * z + 1.0 / 17;
  sum = sum * z + 1.0 / 15;
  sum = sum * z + 1.0 / 13;
  sum = sum * z + 1.0 / 11;
  sum = sum * z + 1.0 / 9;
  sum = sum * z + 1.0 / 7;
  sum = sum * z + 1.0 / 5;
  sum = sum * z + 1.0 / 3;
  return e * 0.693147180559945309417 + 2 * s * (1 + z * sum);
}

inline double safe_logarithm(double x) {
  const double size = std::fabs(x);
  return logarithm(size > DBL_MIN ? size : DBL_MIN);
}

// Distributions over the K positions of LANES windows, position by position.
struct Distributions {
  explicit Distributions(int count)
      : values(count * LANES), p(count * LANES), upto((count + 1) * LANES), logs(count * LANES), centred(count * LANES) {}

  std::vector<double> values, p, upto, logs, centred;
  double entropy[LANES], mean[LANES], deviation[LANES], spread[LANES];
  bool flat[LANES];

  void load(const double* corner, long long width, int side, int windows) {
    for (int k = 0; k < side * side; ++k) {  // down the columns
      const double* row = corner + (k % side) * width + k / side;
      double* to = &values[k * LANES];
      for (int w = 0; w < windows; ++w) to[w] = row[w];
      for (int w = windows; w < LANES; ++w) to[w] = row[windows - 1];
    }
    measure(side * side);
  }

 private:
  void measure(int count) {
    double least[LANES], extent[LANES], sum[LANES], second[LANES];
    for (int w = 0; w < LANES; ++w) least[w] = extent[w] = values[w];
    for (int k = 1; k < count; ++k)
      for (int w = 0; w < LANES; ++w) {
        const double v = values[k * LANES + w];
        least[w] = v < least[w] ? v : least[w];
        extent[w] = v > extent[w] ? v : extent[w];
      }
    for (int w = 0; w < LANES; ++w) {
      extent[w] -= least[w];
      flat[w] = extent[w] == 0;
      sum[w] = second[w] = entropy[w] = mean[w] = spread[w] = upto[w] = 0;
    }
    for (int k = 0; k < count; ++k)
      for (int w = 0; w < LANES; ++w) {
        const double scaled = flat[w] ? 1 : (values[k * LANES + w] - least[w]) / (flat[w] ? 1 : extent[w]);
        p[k * LANES + w] = scaled;
        sum[w] += scaled;
      }
    for (int k = 0; k < count; ++k)
      for (int w = 0; w < LANES; ++w) {
        const int at = k * LANES + w;
        const double share = p[at] / sum[w], place = k + 1;
        p[at] = share;
        upto[at + LANES] = upto[at] + share;
        logs[at] = safe_logarithm(share);
        entropy[w] -= share * logs[at];
        mean[w] += place * share;
        second[w] += place * place * share;
      }
    for (int w = 0; w < LANES; ++w) {
      const double variance = second[w] - mean[w] * mean[w];
      deviation[w] = std::sqrt(variance > 0 ? variance : 0);
      sum[w] = upto[count * LANES + w] / count;
    }
    for (int k = 0; k < count; ++k)
      for (int w = 0; w < LANES; ++w) {
        const double c = flat[w] ? 0 : p[k * LANES + w] - sum[w];
        centred[k * LANES + w] = c;
        spread[w] += c * c;
      }
  }
};

// Room for x, read backwards where the correlation is negative, and for the cells that a Frechet bound fills.
struct Cells {
  explicit Cells(int count)
      : p(count * LANES), upto((count + 1) * LANES), logs(count * LANES), mass((2 * count - 1) * LANES),
        product((2 * count - 1) * LANES), logs_of_product((2 * count - 1) * LANES) {}

  std::vector<double> p, upto, logs, mass, product, logs_of_product;
};

// The measure of each window of x and y: see _normalised_information of the Python form.
void information(const Distributions& x, const Distributions& y, int count, Cells& cells, double* value) {
  double correlation[LANES] = {}, mean[LANES], moment[LANES], phi[LANES], log_rest[LANES], shared[LANES];
  for (int k = 0; k < count; ++k)
    for (int w = 0; w < LANES; ++w) correlation[w] += x.centred[k * LANES + w] * y.centred[k * LANES + w];
  for (int w = 0; w < LANES; ++w) {
    const double scale = std::sqrt(x.spread[w] * y.spread[w]);
    correlation[w] = scale == 0 ? 0 : correlation[w] / (scale == 0 ? 1 : scale);
    mean[w] = correlation[w] < 0 ? count + 1 - x.mean[w] : x.mean[w];
  }
  // The lower bound is the upper one of x read backwards, with the opposite covariance.
  for (int k = 0; k < count; ++k)
    for (int w = 0; w < LANES; ++w) {
      const int at = k * LANES + w, back = (count - 1 - k) * LANES + w;
      const bool lower = correlation[w] < 0;
      cells.p[at] = lower ? x.p[back] : x.p[at];
      cells.logs[at] = lower ? x.logs[back] : x.logs[at];
      cells.upto[at + LANES] = lower ? 1 - x.upto[back] : x.upto[at + LANES];
    }
  const int filled = 2 * count - 1;
  const double *upto_x = cells.upto.data(), *upto_y = y.upto.data(), *p_x = cells.p.data(), *p_y = y.p.data();
  const double *logs_x = cells.logs.data(), *logs_y = y.logs.data();
  double *masses = cells.mass.data(), *products = cells.product.data(), *logs = cells.logs_of_product.data();
  // Each cell ends where the interval of x or of y ends. The windows take a step together: each step of one window waits
  // for the step before.
  int i[LANES], j[LANES];  // the position in x and in y
  double start[LANES];
  for (int w = 0; w < LANES; ++w) i[w] = j[w] = 0, start[w] = moment[w] = 0;
  for (int n = 0; n < filled; ++n)
    for (int w = 0; w < LANES; ++w) {
      const int in_x = i[w] * LANES + w, in_y = j[w] * LANES + w, at = n * LANES + w;
      const double end_x = upto_x[in_x + LANES], end_y = upto_y[in_y + LANES];
      const double end = end_x < end_y ? end_x : end_y;
      const double mass = end > start[w] ? end - start[w] : 0;
      masses[at] = mass;
      products[at] = p_x[in_x] * p_y[in_y];
      logs[at] = logs_x[in_x] + logs_y[in_y];
      moment[w] += mass * ((i[w] + 1) * (j[w] + 1));
      start[w] = end > start[w] ? end : start[w];
      const int next = (j[w] == count - 1) | ((i[w] != count - 1) & (end_x <= end_y));
      i[w] += next;
      j[w] += 1 - next;
    }
  for (int w = 0; w < LANES; ++w) {
    const double covariance = moment[w] - mean[w] * y.mean[w];
    const bool point = (x.deviation[w] == 0) | (y.deviation[w] == 0) | (covariance == 0);
    phi[w] = point ? 0 : std::fabs(correlation[w]) * x.deviation[w] * y.deviation[w] / (point ? 1 : covariance);
    const double rest = 1 - phi[w];
    log_rest[w] = safe_logarithm(rest);
    // The entropy of (1 - phi) p q has a closed form; the cells that the bound fills are exchanged.
    shared[w] = phi[w] * (x.entropy[w] + y.entropy[w]) + rest * log_rest[w];
  }
  for (int n = 0; n < filled; ++n)
    for (int w = 0; w < LANES; ++w) {
      const int at = n * LANES + w;
      const double before = (1 - phi[w]) * products[at], after = phi[w] * masses[at] + before;
      shared[w] += after * safe_logarithm(after) - before * (log_rest[w] + logs[at]);
    }
  for (int w = 0; w < LANES; ++w) {
    const double entropies = x.entropy[w] + y.entropy[w];
    value[w] = entropies == 0 || shared[w] < 0 ? 0 : 2 * shared[w] / entropies;
  }
}

}  // namespace

extern "C" {

// Number that changes with this interface; the caller compares it.
FUSIONKIT_API int fusionkit_fmi_version(void) { return 1; }

// Whether this processor has AVX2 and FMA. Ask the portable library before the other one is loaded.
FUSIONKIT_API int fusionkit_fmi_has_avx2(void) {
#if defined(__x86_64__) || defined(__i386__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return 0;
#endif
}

// Sum over the windows whose first row is in [top, bottom), and over the sources, of the normalised information of
// maps[1], maps[2]... with maps[0], all of one size. Returns 0, or 1 where memory does not suffice.
FUSIONKIT_API int fusionkit_fmi_sum(const double* const* maps, int sources, long long width, long long top,
                                    long long bottom, int side, double* sum) {
  try {
    const int count = side * side;
    const long long across = width - side + 1;
    Distributions fused(count), source(count);
    Cells cells(count);
    double value[LANES], total = 0;
    for (long long row = top; row < bottom; ++row)
      for (long long column = 0; column < across; column += LANES) {
        const int windows = static_cast<int>(across - column < LANES ? across - column : LANES);
        const long long corner = row * width + column;
        fused.load(maps[0] + corner, width, side, windows);
        for (int s = 1; s <= sources; ++s) {
          source.load(maps[s] + corner, width, side, windows);
          information(source, fused, count, cells, value);
          for (int w = 0; w < windows; ++w) {
            bool equal = source.flat[w] && fused.flat[w];
            if (!equal) {
              equal = true;
              for (int k = 0; equal && k < count; ++k)
                equal = source.values[k * LANES + w] == fused.values[k * LANES + w];
            }
            total += equal ? 1 : value[w];
          }
        }
      }
    *sum = total;
    return 0;
  } catch (const std::bad_alloc&) {
    return 1;
  }
}

}  // extern "C"

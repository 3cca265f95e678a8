// The network: two encoders, the merging module, a decoder and a head, streamed over an image.
//
// One map of features (height, width, 2 * dim) is all that is stored. Every stage reads it and writes it in place:
// a first pass gathers the sums of the attention maps, a second one computes the stage. Work goes by bands of rows
// and, in a band, by stripes of columns: what a stripe needs of the rows above and below lies in rings of three rows.
// Original pixels that a neighbour still needs are put aside before they are overwritten.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "kernels.h"
#include "restormer.h"

namespace FORM {

constexpr int STRIPE = 64;   // columns of a stripe
constexpr int BORDER = 2;    // pixels that two 3x3 convolutions see beyond the result
constexpr long SHORTEST = 16;  // rows of a band

static inline int ring(long row) { return static_cast<int>((row % 3 + 3) % 3); }
static inline long padded(long pixels) { return (pixels + 7) / 8 * 8; }

// Memory whose rows begin at a cache line.
class Rows {
 public:
  Rows() = default;
  explicit Rows(size_t floats)
      : memory_(static_cast<float*>(::operator new(floats * sizeof(float), std::align_val_t(64)))) {
    std::memset(memory_.get(), 0, floats * sizeof(float));
  }
  float* get() const { return memory_.get(); }

 private:
  struct Free {
    void operator()(float* p) const { ::operator delete(p, std::align_val_t(64)); }
  };
  std::unique_ptr<float, Free> memory_;
};

// One group of a product: weights of `count` groups of input from `first` on, and a bias.
struct Product {
  int first, count;
  const float *weights, *bias;
};

// One stage: norm, q k v, attention, norm, expansion, gate, projection; the merging module is one without norms.
struct Stage {
  bool norm = true;
  int groups = 0;                            // of 16 channels, in and out
  int offset = 0;                            // first channel in the features
  int wide = 0;                              // groups behind the gate
  int maps = 1;                              // attention maps: each is of groups / maps groups
  std::vector<Product> q, k, v, gate, value, project;
  std::vector<const float*> qd, kd, vd, gated, valued;  // the 3x3 kernels behind them
  std::vector<const float*> temperature, attention_project;
};

class Weights {
 public:
  explicit Weights(const float* from) : next_(from) {}
  const float* take(size_t count) {
    const float* here = next_;
    next_ += count;
    return here;
  }
  Product product(int first, int count) {
    const float* weights = take(static_cast<size_t>(count) * GROUP * GROUP);
    return {first, count, weights, take(GROUP)};
  }

 private:
  const float* next_;
};

static Stage block(Weights& w, int groups, int offset, int expansion, int heads) {
  Stage s;
  s.groups = groups;
  s.offset = offset;
  s.wide = expansion * groups;
  for (auto part : {&s.q, &s.k, &s.v})
    for (int g = 0; g < groups; ++g) part->push_back(w.product(0, groups));
  for (auto part : {&s.qd, &s.kd, &s.vd})
    for (int g = 0; g < groups; ++g) part->push_back(w.take(9 * GROUP));
  s.temperature = {w.take(heads)};
  s.attention_project = {w.take(static_cast<size_t>(groups) * groups * GROUP * GROUP)};
  for (auto part : {&s.gate, &s.value})
    for (int g = 0; g < s.wide; ++g) part->push_back(w.product(0, groups));
  for (auto part : {&s.gated, &s.valued})
    for (int g = 0; g < s.wide; ++g) part->push_back(w.take(9 * GROUP));
  for (int g = 0; g < groups; ++g) s.project.push_back(w.product(0, s.wide));
  return s;
}

// Of two sources with `groups` groups each. Queries come in the order of the keys that they meet: the other source's.
static Stage merging(Weights& w, int groups, int expansion, int heads) {
  Stage s;
  s.norm = false;
  s.groups = 2 * groups;
  s.wide = 4 * expansion * groups;
  s.maps = 2;
  for (auto part : {&s.q, &s.k, &s.v})
    for (int g = 0; g < 2 * groups; ++g) {
      int source = g / groups;
      if (part == &s.q) source = 1 - source;
      part->push_back(w.product(source * groups, groups));
    }
  for (auto part : {&s.qd, &s.kd, &s.vd})
    for (int g = 0; g < 2 * groups; ++g) part->push_back(w.take(9 * GROUP));
  for (int k = 0; k < 2; ++k) s.temperature.push_back(w.take(heads));
  for (int k = 0; k < 2; ++k) s.attention_project.push_back(w.take(static_cast<size_t>(groups) * groups * GROUP * GROUP));
  for (int g = 0; g < s.wide; ++g) s.gate.push_back(w.product(0, 2 * groups));
  for (int g = 0; g < s.wide; ++g) s.value.push_back(w.product(g / (s.wide / 2) * groups, groups));
  for (auto part : {&s.gated, &s.valued})
    for (int g = 0; g < s.wide; ++g) part->push_back(w.take(9 * GROUP));
  for (int g = 0; g < 2 * groups; ++g) s.project.push_back(w.product(0, s.wide));
  return s;
}

// Threads that take bands one after another, and wait for each other between passes.
class Team {
 public:
  explicit Team(int threads) : threads_(threads) {}

  // work(thread) in every thread; the first failure is thrown here.
  void run(const std::function<void(int)>& work) {
    std::vector<std::thread> others;
    std::exception_ptr failure;
    std::mutex guard;
    auto guarded = [&](int thread) {
      try {
        work(thread);
      } catch (...) {
        std::lock_guard<std::mutex> lock(guard);
        if (!failure) failure = std::current_exception();
      }
    };
    for (int t = 1; t < threads_; ++t) {
      try {
        others.emplace_back(guarded, t);
      } catch (const std::system_error&) {
        break;  // bands are taken by the threads that there are
      }
    }
    guarded(0);
    for (auto& other : others) other.join();
    if (failure) std::rethrow_exception(failure);
  }

 private:
  int threads_;
};

struct Band {
  long top, bottom;
};

class Network {
 public:
  Network(const fusionkit_network& n, const fusionkit_image& image)
      : n_(n), image_(image), dim_(n.dim), channels_(2 * n.dim), width_(image.width), height_(image.height),
        row_(static_cast<size_t>(image.width) * 2 * n.dim), team_(std::max(n.threads, 1)) {
    Weights w(n.weights);
    int groups = dim_ / GROUP;
    for (int k = 0; k < 2; ++k) {
      stem_[k] = w.take(static_cast<size_t>(9) * n.inputs * dim_);
      for (int i = 0; i < n.blocks; ++i) encoder_[k].push_back(block(w, groups, k * dim_, n.expansion, n.heads));
    }
    merge_ = merging(w, groups, n.expansion, n.heads);
    for (int i = 0; i < n.blocks; ++i) decoder_.push_back(block(w, 2 * groups, 0, n.expansion, n.heads));
    for (int g = 0; g < groups; ++g) head_.push_back(w.product(0, 9 * 2 * groups));
    last_ = w.take(static_cast<size_t>(9) * dim_);
    long share = (height_ + 2 * std::max(n.threads, 1) - 1) / (2 * std::max(n.threads, 1));
    if (n.threads <= 1) share = height_;
    long fitting = image.band_bytes / static_cast<long>(std::max<size_t>(row_ * sizeof(float), 1)) / std::max(n.threads, 1);
    long rows = std::max(std::min(share, fitting), SHORTEST);
    for (long top = 0; top < height_; top += rows) bands_.push_back({top, std::min(top + rows, height_)});
  }

  // False if it was stopped.
  bool fuse() {
    stems();
    for (int i = 0; i < n_.blocks && !stopped(); ++i) run({&encoder_[0][i], &encoder_[1][i]});
    if (!stopped()) run({&merge_});
    for (int i = 0; i < n_.blocks && !stopped(); ++i) run({&decoder_[i]});
    if (!stopped()) head();
    return !stopped();
  }

 private:
  bool stopped() const { return image_.stop != nullptr && *image_.stop != 0; }
  float* feature(long row, long column) const { return image_.features + row * row_ + column * channels_; }

  // Pages of a finished band may leave this process's memory; they stay in the file.
  void release(const Band& band) const {
#if defined(__linux__)
    if (!image_.in_file) return;
    size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    size_t from = (reinterpret_cast<size_t>(feature(band.top, 0)) + page - 1) / page * page;
    size_t to = reinterpret_cast<size_t>(feature(band.bottom, 0)) / page * page;
    if (to > from) madvise(reinterpret_cast<void*>(from), to - from, MADV_DONTNEED);
#else
    (void)band;
#endif
  }

  // Bands in turn to every thread; `before` runs for one band at a time, in their order.
  template <class Before, class Work>
  void over_bands(Before before, Work work) {
    std::mutex turn;
    size_t next = 0;
    team_.run([&](int) {
      auto state = work.prepare();
      while (!stopped()) {
        size_t i;
        {
          std::lock_guard<std::mutex> lock(turn);
          if (next == bands_.size()) return;
          i = next++;
          before(i, state);
        }
        work(i, state);
        release(bands_[i]);
      }
    });
  }

  // ---- the first convolution of each encoder -----------------------------------------------------------------------

  struct StemState {
    std::vector<float> seen[2][3], slope[2][2], energy[2][7];
  };
  struct StemWork {
    Network& net;
    StemState prepare() const {
      StemState s;
      size_t width = static_cast<size_t>(net.width_);
      for (int k = 0; k < 2; ++k) {
        for (auto& row : s.seen[k]) row.resize((width + 2) * net.n_.inputs);
        for (auto& row : s.slope[k]) row.resize(width);
        for (auto& row : s.energy[k]) row.resize(width);
      }
      return s;
    }
    void operator()(size_t i, StemState& s) const { net.stem_band(net.bands_[i], s); }
  };

  void stems() {
    StemWork work{*this};
    over_bands([](size_t, StemState&) {}, work);
  }

  float pixel(int k, long row, long column) const {
    if (row < 0 || row >= height_ || column < 0 || column >= width_) return 0;
    return image_.sources[k][row * width_ + column];
  }

  // Sobel responses of a row, zeros around the image.
  void slopes(int k, long row, float* x, float* y) const {
    for (long c = 0; c < width_; ++c) {
      float a = pixel(k, row - 1, c - 1), b = pixel(k, row - 1, c), d = pixel(k, row - 1, c + 1);
      float e = pixel(k, row, c - 1), f = pixel(k, row, c + 1);
      float g = pixel(k, row + 1, c - 1), h = pixel(k, row + 1, c), i = pixel(k, row + 1, c + 1);
      x[c] = (d - a) + 2 * (f - e) + (i - g);
      y[c] = (g - a) + 2 * (h - b) + (i - d);
    }
  }

  void energies(long row, StemState& s) const {
    for (int k = 0; k < 2; ++k) {
      std::vector<float>& e = s.energy[k][(row % 7 + 7) % 7];
      if (row < 0 || row >= height_) {
        std::fill(e.begin(), e.end(), 0.f);
        continue;
      }
      slopes(k, row, s.slope[0][0].data(), s.slope[0][1].data());
      for (long c = 0; c < width_; ++c)
        e[c] = s.slope[0][0][c] * s.slope[0][0][c] + s.slope[0][1][c] * s.slope[0][1][c];
    }
  }

  float around(int k, long row, long column, const StemState& s) const {
    float total = 0;
    long left = std::max(column - 2, 0L), right = std::min(column + 3, width_);
    long top = std::max(row - 2, 0L), bottom = std::min(row + 3, height_);
    for (long r = top; r < bottom; ++r)
      for (long c = left; c < right; ++c) total += s.energy[k][r % 7][c];
    return total / ((right - left) * (bottom - top));
  }

  // What the encoders see of one row, zeros around the image.
  void see(long row, StemState& s) const {
    const int inputs = n_.inputs;
    for (int k = 0; k < 2; ++k) {
      std::vector<float>& seen = s.seen[k][ring(row)];
      if (row < 0 || row >= height_) {
        std::fill(seen.begin(), seen.end(), 0.f);
        continue;
      }
      if (inputs > 1) slopes(k, row, s.slope[k][0].data(), s.slope[k][1].data());
      for (long c = 0; c < width_; ++c) {
        float* to = seen.data() + (c + 1) * inputs;
        to[0] = pixel(k, row, c);
        for (int i = 1; i < std::min(inputs, 3); ++i) to[i] = s.slope[k][i - 1][c];
      }
    }
    if (inputs < 5 || row < 0 || row >= height_) return;
    for (long c = 0; c < width_; ++c) {
      const float faint = 1e-5f;  // as in fusionkit_restormer's inputs
      float here[2], near[2];
      for (int k = 0; k < 2; ++k) {
        here[k] = s.energy[k][row % 7][c];
        near[k] = around(k, row, c, s);
      }
      for (int k = 0; k < 2; ++k) {
        float* to = s.seen[k][ring(row)].data() + (c + 1) * inputs;
        to[3] = here[k] / (here[0] + here[1] + faint) - 0.5f;
        to[4] = near[k] / (near[0] + near[1] + faint) - 0.5f;
      }
    }
  }

  void stem_band(const Band& band, StemState& s) const {
    const int inputs = n_.inputs;
    if (inputs == 5)
      for (long r = band.top - 3; r < band.top + 1; ++r) energies(r, s);
    for (long r = band.top - 1; r <= band.bottom && !stopped(); ++r) {
      if (inputs == 5) energies(r + 2, s);
      see(r, s);
      long row = r - 1;
      if (row < band.top) continue;
      for (int k = 0; k < 2; ++k) {
        const float* rows[3] = {s.seen[k][ring(row - 1)].data(), s.seen[k][ring(row)].data(), s.seen[k][ring(row + 1)].data()};
        for (long c = 0; c < width_; ++c) {
          float* to = feature(row, c) + k * dim_;
          for (int g = 0; g < dim_; g += GROUP) {
            Vec low = {}, high = {};
            const float* w = stem_[k] + static_cast<size_t>(g) * 9 * inputs;
            for (int d = 0; d < 3; ++d) {
              const float* x = rows[d] + c * inputs;
              for (int t = 0; t < 3 * inputs; ++t, w += GROUP) {
                low += all(x[t]) * load(w);
                high += all(x[t]) * load(w + LANES);
              }
            }
            store(to + g, low);
            store(to + g + LANES, high);
          }
        }
      }
    }
  }

  // ---- stages: encoder and decoder blocks, the merging module ---------------------------------------------------

  // Rings and rows of one thread.
  struct Buffers {
    Rows x[3], normed, q[3], k[3], v[3], y[3], wide[3], row, other, gated;
    long step = 0;  // floats of one group of a row
    Rows above, below, left[2];
    bool has_above = false;
  };

  Buffers buffers(const std::vector<const Stage*>& stages) const {
    Buffers b;
    int groups = 0, wide = 0;
    for (const Stage* s : stages) {
      groups = std::max(groups, s->groups);
      wide = std::max(wide, s->wide);
    }
    b.step = padded(STRIPE + 2 * BORDER) * GROUP;
    for (int i = 0; i < 3; ++i) {
      for (auto ring_ : {&b.x[i], &b.q[i], &b.k[i], &b.v[i], &b.y[i]}) *ring_ = Rows(groups * b.step);
      b.wide[i] = Rows(2 * wide * b.step);
    }
    for (auto row : {&b.normed, &b.row, &b.other}) *row = Rows(groups * b.step);
    b.gated = Rows(wide * b.step);
    return b;
  }

  // One row of a product, with zeros in the columns outside of the image.
  static void product_row(const Product& p, const float* from, long step, float* to, long left, long right, int pixels) {
    const float* parts[64];
    for (int i = 0; i < p.count; ++i) parts[i] = from + (p.first + i) * step + left * GROUP;
    product(parts, p.count, p.weights, p.bias, 0, to + left * GROUP, GROUP, static_cast<int>(right - left));
    if (left) std::memset(to, 0, left * GROUP * sizeof(float));
    if (right < pixels) std::memset(to + right * GROUP, 0, (pixels - right) * GROUP * sizeof(float));
  }

  // The columns [from, to) of a stage's channels in a row of features, group by group.
  static void gather(const Stage& s, const float* features, int channels, float* to, long step, long pixels) {
    for (int g = 0; g < s.groups; ++g) {
      const float* from = features + s.offset + g * GROUP;
      float* out = to + g * step;
      for (long p = 0; p < pixels; ++p, from += channels, out += GROUP) {
        store(out, load(from));
        store(out + LANES, load(from + LANES));
      }
    }
  }

  template <int SIZE>
  void sums_of_band(const Stage& s, const Band& band, Buffers& b, std::vector<Sums>& into) const {
    for (long c0 = 0; c0 < width_; c0 += STRIPE) {
      if (stopped()) return;
      long c1 = std::min(c0 + STRIPE, width_), count = c1 - c0;
      long left = c0 == 0, right = count + 2 - (c1 == width_);
      int pixels = static_cast<int>(count + 2);
      for (long r = band.top - 1; r <= band.bottom; ++r) {
        int now = ring(r);
        if (r < 0 || r >= height_) {
          for (auto to : {b.q[now].get(), b.k[now].get()}) std::memset(to, 0, s.groups * b.step * sizeof(float));
        } else {
          float* x = b.x[0].get();
          gather(s, feature(r, c0 - 1 + left), channels_, x + left * GROUP, b.step, right - left);
          const float* in = x;
          if (s.norm) {
            normalise(x, b.normed.get(), s.groups, b.step, pixels);
            in = b.normed.get();
          }
          for (int g = 0; g < s.groups; ++g) {
            product_row(s.q[g], in, b.step, b.q[now].get() + g * b.step, left, right, pixels);
            product_row(s.k[g], in, b.step, b.k[now].get() + g * b.step, left, right, pixels);
          }
        }
        long row = r - 1;
        if (row < band.top) continue;
        int i0 = ring(row - 1), i1 = ring(row), i2 = ring(row + 1), n = static_cast<int>(count);
        for (int g = 0; g < s.groups; ++g) {
          long at = g * b.step;
          depthwise(b.q[i0].get() + at, b.q[i1].get() + at, b.q[i2].get() + at, s.qd[g], b.row.get(), n, Plain());
          depthwise(b.k[i0].get() + at, b.k[i1].get() + at, b.k[i2].get() + at, s.kd[g], b.other.get(), n, Plain());
          accumulate<SIZE>(b.row.get(), b.other.get(), n, into[g]);
        }
      }
    }
  }

  // The attention folded into the projection behind it: weights of the groups of v for each group of the result.
  std::vector<float> folded(const Stage& s, const std::vector<Sums>& sums) const {
    const int size = s.groups / s.maps, channels = size * GROUP, head = channels / n_.heads;
    std::vector<float> out(static_cast<size_t>(s.maps) * channels * channels);
    for (int map = 0; map < s.maps; ++map) {
      const float* project = s.attention_project[map];
      for (int h = 0; h < n_.heads; ++h) {
        double attention[LANES][LANES];
        for (int i = 0; i < head; ++i) {
          int channel = h * head + i;
          const Sums& of = sums[map * size + channel / GROUP];
          int at = channel % GROUP;
          double most = -1e300, total = 0;
          for (int shift = 0; shift < head; ++shift) {
            int other = partner(at, shift, head), j = other - at + i;
            double norm = std::max(std::sqrt(of.qq[at]), 1e-12) * std::max(std::sqrt(of.kk[other]), 1e-12);
            attention[i][j] = of.qk[shift][at] / norm * s.temperature[map][h];
          }
          for (int j = 0; j < head; ++j) most = std::max(most, attention[i][j]);
          for (int j = 0; j < head; ++j) total += attention[i][j] = std::exp(attention[i][j] - most);
          for (int j = 0; j < head; ++j) attention[i][j] /= total;
        }
        for (int o = 0; o < channels; ++o)
          for (int j = 0; j < head; ++j) {
            double weight = 0;
            for (int i = 0; i < head; ++i) weight += project[o * channels + h * head + i] * attention[i][j];
            int v = h * head + j;
            size_t place = (static_cast<size_t>(map) * size + o / GROUP) * size * GROUP * GROUP + v * GROUP + o % GROUP;
            out[place] = static_cast<float>(weight);
          }
      }
    }
    return out;
  }


  struct SumsState {
    Buffers buffers;
  };
  struct SumsWork {
    const Network& net;
    const std::vector<const Stage*>& stages;
    std::vector<std::vector<std::vector<Sums>>>& parts;  // [band][stage][group]
    SumsState prepare() const { return {net.buffers(stages)}; }
    void operator()(size_t i, SumsState& state) const {
      for (size_t k = 0; k < stages.size(); ++k) {
        const Stage& s = *stages[k];
        int head = s.groups / s.maps * GROUP / net.n_.heads;
        auto& into = parts[i][k];
        switch (head) {
          case 2: net.sums_of_band<2>(s, net.bands_[i], state.buffers, into); break;
          case 4: net.sums_of_band<4>(s, net.bands_[i], state.buffers, into); break;
          default: net.sums_of_band<8>(s, net.bands_[i], state.buffers, into); break;
        }
      }
    }
  };

  struct StageWork {
    const Network& net;
    const std::vector<const Stage*>& stages;
    const std::vector<std::vector<float>>& maps;
    Buffers prepare() const {
      Buffers b = net.buffers(stages);
      b.above = Rows(BORDER * net.row_);
      b.below = Rows(BORDER * net.row_);
      return b;
    }
    void operator()(size_t i, Buffers& b) const {
      const Band& band = net.bands_[i];
      size_t column = static_cast<size_t>(band.bottom - band.top) * BORDER * net.channels_;
      for (auto& left : b.left) left = Rows(column);
      for (size_t k = 0; k < stages.size(); ++k) net.stage_band(*stages[k], band, maps[k], b);
    }
  };

  void run(const std::vector<const Stage*>& stages) {
    std::vector<std::vector<std::vector<Sums>>> parts(bands_.size());
    for (auto& band : parts)
      for (const Stage* s : stages) band.emplace_back(s->groups);
    SumsWork first{*this, stages, parts};
    over_bands([](size_t, SumsState&) {}, first);
    std::vector<std::vector<float>> maps;
    for (size_t k = 0; k < stages.size(); ++k) {
      std::vector<Sums> total(stages[k]->groups);
      for (const auto& band : parts)  // in the order of the bands, whichever thread took them
        for (size_t g = 0; g < total.size(); ++g) total[g].add(band[k][g]);
      maps.push_back(folded(*stages[k], total));
    }
    if (stopped()) return;
    // A band's first rows need the last ones of the band above as they were, and its last rows those below.
    Rows above(BORDER * row_);
    auto put_aside = [&](size_t i, Buffers& b) {
      const Band& band = bands_[i];
      std::memcpy(b.above.get(), above.get(), BORDER * row_ * sizeof(float));
      for (long r = 0; r < BORDER; ++r) {
        long last = band.bottom - BORDER + r, next = band.bottom + r;
        if (last >= band.top) std::memcpy(above.get() + r * row_, feature(last, 0), row_ * sizeof(float));
        if (next < height_) std::memcpy(b.below.get() + r * row_, feature(next, 0), row_ * sizeof(float));
      }
    };
    StageWork second{*this, stages, maps};
    over_bands(put_aside, second);
  }

  void stage_band(const Stage& s, const Band& band, const std::vector<float>& map, Buffers& b) const {
    const int size = s.groups / s.maps, channels = s.groups * GROUP;
    float *left_now = b.left[0].get(), *left_next = b.left[1].get();
    for (long c0 = 0; c0 < width_; c0 += STRIPE) {
      if (stopped()) return;
      const long c1 = std::min(c0 + STRIPE, width_), count = c1 - c0;
      // Columns of the rows in the buffers, from c0 - 2 on, that lie in the image.
      const long first = std::max(BORDER - c0, 0L), last = std::min(count + 2 * BORDER, width_ - c0 + BORDER);
      const int outer = static_cast<int>(count + 2 * BORDER), inner = static_cast<int>(count + 2);
      // The same for rows from c0 - 1 on.
      const long left = std::max(first - 1, 0L), right = std::min<long>(last - 1, inner);
      for (long r = band.top - BORDER; r < band.bottom + BORDER; ++r) {
        const int now = ring(r);
        float* v = b.v[now].get();
        if (r < 0 || r >= height_) {
          std::memset(v, 0, s.groups * b.step * sizeof(float));
        } else {
          float* x = b.x[now].get();
          if (r < band.top) {
            const float* from = b.above.get() + (r - band.top + BORDER) * row_;
            gather(s, from + (c0 - BORDER + first) * channels_, channels_, x + first * GROUP, b.step, last - first);
          } else if (r >= band.bottom) {
            const float* from = b.below.get() + (r - band.bottom) * row_;
            gather(s, from + (c0 - BORDER + first) * channels_, channels_, x + first * GROUP, b.step, last - first);
          } else {
            // The two columns on the left have been overwritten by the stripe before.
            const long at = (r - band.top) * BORDER * channels;
            for (long p = first; p < BORDER; ++p)
              for (int g = 0; g < s.groups; ++g)
                std::memcpy(x + g * b.step + p * GROUP, left_now + at + (p * s.groups + g) * GROUP, GROUP * sizeof(float));
            gather(s, feature(r, c0), channels_, x + BORDER * GROUP, b.step, last - BORDER);
            for (long p = 0; p < BORDER && count >= BORDER; ++p)
              for (int g = 0; g < s.groups; ++g)
                std::memcpy(left_next + at + (p * s.groups + g) * GROUP, x + g * b.step + (count + p) * GROUP, GROUP * sizeof(float));
          }
          const float* in = x;
          if (s.norm) {
            normalise(x, b.normed.get(), s.groups, b.step, static_cast<int>(padded(outer)));
            in = b.normed.get();
          }
          for (int g = 0; g < s.groups; ++g) product_row(s.v[g], in, b.step, v + g * b.step, first, last, outer);
        }
        const long m = r - 1;  // the row behind the attention, and of the expansion
        if (m >= band.top - 1 && m <= band.bottom) {
          const int at = ring(m);
          float* wide = b.wide[at].get();
          if (m < 0 || m >= height_) {
            std::memset(wide, 0, 2 * s.wide * b.step * sizeof(float));
          } else {
            float *y = b.y[at].get(), *row = b.row.get();
            const float *v0 = b.v[ring(m - 1)].get(), *v1 = b.v[at].get(), *v2 = b.v[ring(m + 1)].get();
            for (int g = 0; g < s.groups; ++g)
              depthwise(v0 + g * b.step, v1 + g * b.step, v2 + g * b.step, s.vd[g], row + g * b.step, inner, Plain());
            for (int g = 0; g < s.groups; ++g) {
              const float* parts[64];
              for (int i = 0; i < size; ++i) parts[i] = row + (g / size * size + i) * b.step;
              const float* weights = map.data() + static_cast<size_t>(g) * size * GROUP * GROUP;
              product(parts, size, weights, b.x[at].get() + g * b.step + GROUP, GROUP, y + g * b.step, GROUP, inner);
            }
            const float* in = y;
            if (s.norm) {
              normalise(y, b.normed.get(), s.groups, b.step, static_cast<int>(padded(inner)));
              in = b.normed.get();
            }
            for (int g = 0; g < s.wide; ++g) {
              product_row(s.gate[g], in, b.step, wide + g * b.step, left, right, inner);
              product_row(s.value[g], in, b.step, wide + (s.wide + g) * b.step, left, right, inner);
            }
          }
        }
        const long row = m - 1;  // the row of the result
        if (row < band.top || row >= band.bottom) continue;
        const float *w0 = b.wide[ring(row - 1)].get(), *w1 = b.wide[ring(row)].get(), *w2 = b.wide[ring(row + 1)].get();
        const int n = static_cast<int>(count);
        const float* parts[64];
        for (int g = 0; g < s.wide; ++g) {
          float* to = b.gated.get() + g * b.step;
          long at = g * b.step, other = (s.wide + g) * b.step;
          depthwise(w0 + at, w1 + at, w2 + at, s.gated[g], to, n, Gelu());
          depthwise(w0 + other, w1 + other, w2 + other, s.valued[g], to, n, Times());
          parts[g] = to;
        }
        for (int g = 0; g < s.groups; ++g)
          product(parts, s.wide, s.project[g].weights, b.y[ring(row)].get() + g * b.step + GROUP, GROUP,
                  feature(row, c0) + s.offset + g * GROUP, channels_, n);
      }
      std::swap(left_now, left_next);
    }
  }

  // ---- the head ---------------------------------------------------------------------------------------------------

  struct HeadState {
    Rows x[3], hidden[3];
    long step = 0;
  };
  struct HeadWork {
    const Network& net;
    HeadState prepare() const {
      HeadState s;
      s.step = padded(STRIPE + 2 * BORDER) * GROUP;
      for (auto& row : s.x) row = Rows(net.channels_ / GROUP * s.step);
      for (auto& row : s.hidden) row = Rows(net.dim_ / GROUP * s.step);
      return s;
    }
    void operator()(size_t i, HeadState& s) const { net.head_band(net.bands_[i], s); }
  };

  void head() {
    HeadWork work{*this};
    over_bands([](size_t, HeadState&) {}, work);
  }

  void head_band(const Band& band, HeadState& s) const {
    const int groups = channels_ / GROUP, hidden = dim_ / GROUP;
    Stage all_channels;
    all_channels.groups = groups;
    for (long c0 = 0; c0 < width_; c0 += STRIPE) {
      if (stopped()) return;
      const long c1 = std::min(c0 + STRIPE, width_), count = c1 - c0;
      const long first = std::max(BORDER - c0, 0L), last = std::min(count + 2 * BORDER, width_ - c0 + BORDER);
      const int inner = static_cast<int>(count + 2);
      for (long r = band.top - BORDER; r < band.bottom + BORDER; ++r) {
        float* x = s.x[ring(r)].get();
        std::memset(x, 0, groups * s.step * sizeof(float));
        if (r >= 0 && r < height_)
          gather(all_channels, feature(r, c0 - BORDER + first), channels_, x + first * GROUP, s.step, last - first);
        const long m = r - 1;
        if (m >= band.top - 1 && m <= band.bottom) {
          float* h = s.hidden[ring(m)].get();
          if (m < 0 || m >= height_) {
            std::memset(h, 0, hidden * s.step * sizeof(float));
          } else {
            std::vector<const float*>& parts = parts_of_head(s, m, groups);
            for (int g = 0; g < hidden; ++g) {
              float* to = h + g * s.step;
              product(parts.data(), 9 * groups, head_[g].weights, head_[g].bias, 0, to, GROUP, inner);
              for (int i = 0; i < inner * GROUP; i += LANES) {
                Vec t = load(to + i);
                store(to + i, greatest(t, t * all(0.01f)));
              }
              if (c0 == 0) std::memset(to, 0, GROUP * sizeof(float));
              if (c1 == width_) std::memset(to + (inner - 1) * GROUP, 0, GROUP * sizeof(float));
            }
          }
        }
        const long row = m - 1;
        if (row < band.top || row >= band.bottom) continue;
        float* out = image_.out + row * width_ + c0;
        const float *a = image_.sources[0] + row * width_ + c0, *b = image_.sources[1] + row * width_ + c0;
        for (long p = 0; p < count; ++p) {
          Vec u = {}, t = {};
          for (int g = 0; g < hidden; ++g)
            for (int d = 0; d < 3; ++d) {
              const float* h = s.hidden[ring(row - 1 + d)].get() + g * s.step + p * GROUP;
              const float* w = last_ + (g * 9 + d * 3) * GROUP;
              for (int e = 0; e < 3 * GROUP; e += GROUP) {
                u += load(h + e) * load(w + e);
                t += load(h + e + LANES) * load(w + e + LANES);
              }
            }
          float y = 1.f / (1.f + std::exp(-sum(u + t)));
          out[p] = n_.decision ? y * a[p] + (1 - y) * b[p] : y;
        }
      }
    }
  }

  static std::vector<const float*>& parts_of_head(const HeadState& s, long m, int groups) {
    static thread_local std::vector<const float*> parts;
    parts.clear();
    for (int d = 0; d < 3; ++d)
      for (int e = 0; e < 3; ++e)
        for (int g = 0; g < groups; ++g) parts.push_back(s.x[ring(m - 1 + d)].get() + g * s.step + e * GROUP);
    return parts;
  }

  const fusionkit_network& n_;
  const fusionkit_image& image_;
  const int dim_, channels_;
  const long width_, height_;
  const size_t row_;
  Team team_;
  std::vector<Band> bands_;
  const float* stem_[2];
  std::vector<Stage> encoder_[2], decoder_;
  Stage merge_;
  std::vector<Product> head_;
  const float* last_;
};

}  // namespace FORM

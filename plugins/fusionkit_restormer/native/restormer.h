// C interface of the native form; plain C, so that ctypes can call it and no Python is needed to build it.
#pragma once

#if defined(_WIN32)
#define FUSIONKIT_API __declspec(dllexport)
#else
#define FUSIONKIT_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  const float* weights;  // packed as fusionkit_restormer.native packs them
  int dim;               // channels of a source's feature, a multiple of 16
  int heads, blocks, expansion;
  int inputs;            // channels that an encoder sees: 1, 3 or 5
  int decision;          // whether the network puts out a weight of the first source
  int threads;
} fusionkit_network;

typedef struct {
  const float* sources[2];  // (height, width)
  float* out;               // (height, width)
  float* features;          // (height, width, 2 * dim), to work in
  long long height, width;
  long long band_bytes;     // bytes of features that all threads together work on at a time
  int in_file;              // whether the features are a file's, whose pages may leave memory
  const volatile int* stop; // set to anything but 0 by another thread to give up; may be null
} fusionkit_image;

enum { FUSIONKIT_DONE = 0, FUSIONKIT_STOPPED = 1, FUSIONKIT_NO_MEMORY = 2, FUSIONKIT_FAILED = 3 };

// Number that changes with this file; the caller compares it.
FUSIONKIT_API int fusionkit_restormer_version(void);

// Whether this processor has AVX2 and FMA. Ask the portable library before the other one is loaded.
FUSIONKIT_API int fusionkit_restormer_has_avx2(void);

// Fuse one pair. Returns one of the values above.
FUSIONKIT_API int fusionkit_restormer_fuse(const fusionkit_network* network, const fusionkit_image* image);

#ifdef __cplusplus
}
#endif

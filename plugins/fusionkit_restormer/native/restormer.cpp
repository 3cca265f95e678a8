// The C interface. Compiled once into each library: restormer_portable for any processor, restormer_avx2 with AVX2 and
// FMA. Two libraries and not two objects of one: inline functions of the standard library that both hold would be
// merged, and the portable form would run instructions that a processor lacks.
#ifndef FORM
#define FORM portable
#endif
#include "restormer.h"

#include "network.h"

int fusionkit_restormer_version(void) { return 1; }

int fusionkit_restormer_has_avx2(void) {
#if defined(__x86_64__) || defined(__i386__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return 0;
#endif
}

int fusionkit_restormer_fuse(const fusionkit_network* network, const fusionkit_image* image) {
  try {
    return FORM::Network(*network, *image).fuse() ? FUSIONKIT_DONE : FUSIONKIT_STOPPED;
  } catch (const std::bad_alloc&) {
    return FUSIONKIT_NO_MEMORY;
  } catch (...) {
    return FUSIONKIT_FAILED;
  }
}

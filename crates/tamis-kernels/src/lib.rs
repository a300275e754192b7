//! The few hot loops of Tamis, scalar and SIMD, chosen once at run time.

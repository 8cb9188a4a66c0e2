"""Kernels as LLVM's text, and the machine code that LLVM makes of it."""

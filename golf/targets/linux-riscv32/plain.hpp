// Linux on RV32.
#pragma once

#include "isa/riscv-calls.hpp"

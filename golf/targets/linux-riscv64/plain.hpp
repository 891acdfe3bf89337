// Linux on RV64.
#pragma once

#include "isa/riscv-calls.hpp"

// Linux on MIPS32, little-endian.
#pragma once

#include "isa/mips-calls.hpp"

// Linux on MIPS32, big-endian.
#pragma once

#include "isa/mips-calls.hpp"

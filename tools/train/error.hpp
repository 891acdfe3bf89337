// error.hpp: the one kind of error that these programs report: something that the user can put right.
#pragma once

#include <stdexcept>
#include <string>

namespace llama512::train {

/// what() is one line, "FILE: FIELD: MESSAGE".
class Error : public std::runtime_error {
public:
    Error(const std::string& file, const std::string& message) : std::runtime_error(file + ": " + message) {}
};

}  // namespace llama512::train

// The one kind of error that this library reports to its user.
#pragma once

#include <stdexcept>
#include <string>

namespace llama512 {

/// Something that the user gave is wrong: a file, a prompt, an output that cannot be written.
/// what() is one line, "WHERE: FIELD: MESSAGE". The message gives the value found and what is needed instead.
class Error : public std::runtime_error {
public:
    Error(const std::string& where, const std::string& field, const std::string& message)
        : std::runtime_error(where + ": " + field + ": " + message) {}
};

/// Prints "PROGRAM: error: MESSAGE" on stderr, one line: control characters, which a file name may hold, become '?'.
void report_error(const char* program, std::string message);

}  // namespace llama512

// `--name VALUE` command lines, the same for every program of this folder.
#pragma once

#include <charconv>
#include <cstdio>
#include <exception>
#include <map>
#include <new>
#include <stdexcept>
#include <string>

#include "error.hpp"

namespace llama512::train {

/// A command line that cannot be understood; the exit status is 2.
class UsageError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// The values of a command line by name, over the defaults. Only names that have a default are known.
class Arguments {
public:
    Arguments(int argc, char** argv, std::map<std::string, std::string> defaults) : values_(std::move(defaults)) {
        for (int i = 1; i < argc; i++) {
            const std::string name = argv[i];
            if (!values_.contains(name)) throw UsageError(name + ": no such option, see --help");
            if (++i == argc) throw UsageError(name + ": a value is needed after it");
            values_[name] = argv[i];
        }
    }

    const std::string& text(const std::string& name) const { return values_.at(name); }

    /// A file's name, which may not be missing.
    const std::string& file(const std::string& name) const {
        if (text(name).empty()) throw UsageError(name + ": a file is needed");
        return text(name);
    }

    template <typename T>
    T number(const std::string& name, T min, T max) const {
        const std::string& value = text(name);
        T result{};
        const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), result);
        if (error != std::errc() || end != value.data() + value.size() || !(result >= min && result <= max)) {
            throw UsageError(name + ": '" + value + "' is not a number from " + std::to_string(min) + " to " +
                             std::to_string(max));
        }
        return result;
    }

private:
    std::map<std::string, std::string> values_;
};

/// Runs a program: prints `help` for --help; turns an Error into one line on stderr and a status.
template <typename Main>
int run_program(const char* name, const char* help, int argc, char** argv, Main main) {
    try {
        for (int i = 1; i < argc; i++) {
            if (std::string(argv[i]) == "--help" || std::string(argv[i]) == "-h") {
                std::fputs(help, stdout);
                return 0;
            }
        }
        main();
        return 0;
    } catch (const UsageError& error) {
        report_error(name, error.what());
        return 2;
    } catch (const std::bad_alloc&) {
        report_error(name, "memory: not enough");
        return 1;
    } catch (const std::exception& error) {
        report_error(name, error.what());
        return 1;
    }
}

}  // namespace llama512::train

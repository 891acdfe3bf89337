// Hero names out of syllables. A model that sees thousands of them learns to copy a name, not to know it.

#include <algorithm>
#include <cctype>

#include "grammar.hpp"

namespace llama512::train {

const std::array<std::string_view, 16> kReservedNames = {"Zelda", "Lily", "Anna",  "Clara", "Ruby", "Emma",
                                                         "Ivy",   "Nora", "Bob",   "Tom",   "Leo",  "Hugo",
                                                         "Felix", "Oscar", "Ben",  "Victor"};

namespace {

// Common sounds stand more than once. An empty string is "no consonant".
constexpr std::string_view kOnsets[] = {"",  "",  "b",  "b",  "c",  "d",  "d", "f", "g", "h", "j",  "k",  "l",
                                        "l", "l", "m",  "m",  "n",  "n",  "p", "r", "r", "s", "t",  "t",  "v",
                                        "w", "z", "br", "ch", "cl", "fl", "gr", "qu", "sh", "st", "th", "tr"};
constexpr std::string_view kVowels[] = {"a", "a", "a", "e", "e", "e", "i", "i", "o", "o", "u", "ee", "ia", "y"};
constexpr std::string_view kCodas[] = {"", "", "", "", "b", "d", "ck", "l", "ll", "m", "n", "n", "nn", "r", "s", "x"};

template <std::size_t N>
std::string_view pick(const std::string_view (&sounds)[N], Random& random) {
    return sounds[random.below(N)];
}

}  // namespace

std::string make_name(Random& random) {
    while (true) {
        const std::uint32_t n_syllables = 1 + (random.below(3) != 0);
        std::string name;
        for (std::uint32_t i = 0; i < n_syllables; i++) {
            name += pick(kOnsets, random);
            name += pick(kVowels, random);
            if (i + 1 == n_syllables || random.below(3) == 0) name += pick(kCodas, random);
        }
        name[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(name[0])));
        if (name.size() >= 3 && name.size() <= 6 && std::ranges::find(kReservedNames, name) == std::end(kReservedNames)) {
            return name;
        }
    }
}

}  // namespace llama512::train

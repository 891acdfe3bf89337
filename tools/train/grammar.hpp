// A grammar of stories, read from a file such as fables.grammar (which explains the format).
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "random.hpp"

namespace llama512::train {

/// Tells stories. Each story first draws its world (who, where, which object, which colour …), then one form of each
/// sentence, and so every sentence speaks of the same world.
class Grammar {
public:
    /// Throws Error with the file's name and the line.
    explicit Grammar(const std::string& path);

    /// Appends story number `index`. The same seed and index give the same story.
    void tell(std::uint64_t seed, std::uint64_t index, std::string& story) const;

private:
    struct List {
        std::string name;
        std::vector<std::string> values;  // the first is the favourite
    };

    /// A piece of a sentence: text, and then perhaps a slot.
    struct Segment {
        std::string text;
        int slot = -1;         // index into the story's values; -1: no slot
        bool article = false;  // put "a" or "an" before the value
        bool capital = false;  // write the value's first letter as a capital
    };
    using Sentence = std::vector<Segment>;
    using Choice = std::vector<Sentence>;  // the forms of one sentence; the first is the favourite

    struct Plot {
        std::string name;
        std::vector<List> lists;
        std::vector<Choice> choices;
    };

    int slot(std::string_view name);
    void note_words(const std::string& text);
    Sentence parse_sentence(const std::string& text, const std::string& path, const std::string& where);

    std::array<std::vector<std::string>, 2> heroes_;   // by gender: she, he
    std::array<std::vector<std::string>, 2> friends_;
    Plot opening_;
    std::vector<Plot> plots_;
    std::map<std::string, int, std::less<>> slots_;  // name to index
    std::set<std::string> words_;                    // every word of the grammar: no hero is named "She" or "Pond"
};

/// A made name: one or two syllables, three to six letters, such as "Belor" or "Tam".
std::string make_name(Random& random);

/// Names that are never made, so that a model's stories about them show that it can carry a name it has not seen.
/// `llama512 judge` has the same list.
extern const std::array<std::string_view, 16> kReservedNames;

}  // namespace llama512::train

// A text corpus as stories and words.
#pragma once

#include <cctype>
#include <string>
#include <string_view>

namespace llama512::train {

/// Calls visit(story) for each paragraph of `text`, with runs of white space made one space.
/// Paragraphs are separated by blank lines. The story is valid during the call only.
template <typename Visit>
void for_each_story(std::string_view text, Visit visit) {
    std::string story;
    bool space = false;  // white space was seen since the last character
    int newlines = 0;    // how many line ends it had
    for (const char c : text) {
        if (c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f' || c == '\v') {
            space = true;
            newlines += c == '\n';
            continue;
        }
        if (newlines >= 2 && !story.empty()) {
            visit(std::string_view(story));
            story.clear();
        } else if (space && !story.empty()) {
            story += ' ';
        }
        space = false;
        newlines = 0;
        story += c;
    }
    if (!story.empty()) visit(std::string_view(story));
}

/// Part of a word rather than of punctuation: letters, digits, apostrophes, and every byte of a non-ASCII character.
inline bool is_word_byte(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x80 || std::isalnum(byte) || c == '\'';
}

/// Calls visit(word) for each word of a story: a run of word bytes or of punctuation, with the space before it.
/// Pieces never reach over the end of such a word, so that words can be encoded one by one, and each only once.
template <typename Visit>
void for_each_word(std::string_view story, Visit visit) {
    std::size_t start = 0;
    while (start < story.size()) {
        std::size_t end = start + (story[start] == ' ');
        const bool word = end < story.size() && is_word_byte(story[end]);
        while (end < story.size() && story[end] != ' ' && is_word_byte(story[end]) == word) end++;
        visit(story.substr(start, end - start));
        start = end;
    }
}

}  // namespace llama512::train

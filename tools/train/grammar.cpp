#include "grammar.hpp"

#include <algorithm>
#include <cctype>
#include <sstream>

#include "error.hpp"
#include "files/mapped_file.hpp"

namespace llama512::train {

using std::size_t;
using std::string;
using std::string_view;

namespace {

enum Gender : size_t { kShe, kHe };

// The words that follow from who the hero and the friend are. Every other slot is a list.
enum Slot : int { 
    kHero, kGirl, kSubject, kPossessive, kObject, kFriend, kFriendSubject, kFriendPossessive, kFirstList
 };
constexpr string_view kSlotNames[] = {"hero",   "girl",       "she",       "her", "him",
                                      "friend", "friend.she", "friend.her"};

constexpr string_view kGirlOrBoy[] = {"girl", "boy"};
constexpr string_view kSubjects[] = {"she", "he"};
constexpr string_view kPossessives[] = {"her", "his"};
constexpr string_view kObjects[] = {"her", "him"};

string trim(string_view text) {
    while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front()))) text.remove_prefix(1);
    while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.remove_suffix(1);
    return string(text);
}

std::vector<string> split(string_view text, char separator) {
    std::vector<string> parts;
    while (true) {
        const size_t end = text.find(separator);
        parts.push_back(trim(text.substr(0, end)));
        if (end == string_view::npos) return parts;
        text.remove_prefix(end + 1);
    }
}

/// The index of one of n: the first has double weight. A model's margin between the first and the others is then ln 2,
/// which rounding its weights does not overturn.
size_t pick(size_t n, Random& random) {
    const size_t index = random.below(static_cast<std::uint32_t>(n + 1));
    return index == n ? 0 : index;
}

bool is_vowel(char c) { return string_view("aeiou").find(c) != string_view::npos; }

}  // namespace

Grammar::Grammar(const string& path) {
    std::istringstream file{string(MappedFile(path).text())};
    for (size_t i = 0; i < std::size(kSlotNames); i++) slots_.emplace(kSlotNames[i], static_cast<int>(i));

    note_words("girl boy she he her his him hers herself himself it they them");

    string line;
    for (int number = 1; std::getline(file, line); number++) {
        const string where = "line " + std::to_string(number);
        const auto fail = [&](const string& message) { throw Error(path, where, message); };
        line = trim(line);
        if (line.empty() || line[0] == '#') continue;
        note_words(line);
        Plot& plot = plots_.empty() ? opening_ : plots_.back();

        if (line[0] == '-') {
            plot.choices.push_back({parse_sentence(trim(line.substr(1)), path, where)});
        } else if (line[0] == '|') {
            if (plot.choices.empty()) fail("'|' without a '-' above it");
            plot.choices.back().push_back(parse_sentence(trim(line.substr(1)), path, where));
        } else if (line.starts_with("plot ")) {
            plots_.push_back({trim(line.substr(5)), {}, {}});
        } else {
            const size_t equals = line.find('=');
            const std::vector<string> head = split(trim(string_view(line).substr(0, equals)), ' ');
            if (equals == string::npos || head.size() != 2) fail("'" + line + "' is no list, plot or sentence");
            const std::vector<string> values = split(string_view(line).substr(equals + 1), '|');
            if (std::ranges::find(values, "") != values.end()) fail("an empty value");
            if (head[0] == "hero" && (head[1] == "girl" || head[1] == "boy")) {
                heroes_[head[1] == "girl" ? kShe : kHe] = values;
            } else if (head[0] == "friend" && (head[1] == "she" || head[1] == "he")) {
                friends_[head[1] == "she" ? kShe : kHe] = values;
            } else if (head[0] == "list") {
                slot(head[1]);
                plot.lists.push_back({head[1], values});
            } else {
                fail("'" + head[0] + " " + head[1] + "' is unknown: list, hero girl, hero boy, friend she, friend he");
            }
        }
    }
    for (const auto& names : {heroes_[kShe], heroes_[kHe], friends_[kShe], friends_[kHe]}) {
        if (names.empty()) throw Error(path, "names", "hero girl, hero boy, friend she and friend he are all needed");
    }
    if (plots_.empty()) throw Error(path, "plots", "none, at least one is needed");

    // Every slot that a plot's sentences use must have a list there.
    for (const Plot& plot : plots_) {
        const auto check = [&](const Plot& sentences) {
            for (const Choice& choice : sentences.choices) {
                for (const Sentence& sentence : choice) {
                    for (const Segment& segment : sentence) {
                        if (segment.slot < kFirstList) continue;
                        const auto has = [&](const List& list) { return slots_.at(list.name) == segment.slot; };
                        if (std::ranges::none_of(opening_.lists, has) && std::ranges::none_of(plot.lists, has)) {
                            const auto named = [&](const auto& entry) { return entry.second == segment.slot; };
                            throw Error(path, "plot " + plot.name, "no list for the slot {" +
                                                  std::ranges::find_if(slots_, named)->first + "}");
                        }
                    }
                }
            }
        };
        check(opening_);
        check(plot);
    }
}

/// The index of a slot's value; a new name gets a new index.
int Grammar::slot(string_view name) {
    return slots_.emplace(name, static_cast<int>(slots_.size())).first->second;
}

/// Notes the words of a line as they would be written as a name.
void Grammar::note_words(const string& text) {
    string word;
    for (const char c : text + ' ') {
        const auto byte = static_cast<unsigned char>(c);
        if (std::isalpha(byte)) {
            word += static_cast<char>(word.empty() ? std::toupper(byte) : std::tolower(byte));
        } else if (!word.empty()) {
            words_.insert(word);
            word.clear();
        }
    }
}

Grammar::Sentence Grammar::parse_sentence(const string& text, const string& path, const string& where) {
    Sentence sentence;
    size_t start = 0;
    while (true) {
        const size_t open = text.find('{', start);
        Segment segment;
        segment.text = text.substr(start, open - start);
        if (open == string::npos) {
            sentence.push_back(segment);
            return sentence;
        }
        const size_t close = text.find('}', open);
        if (close == string::npos) throw Error(path, where, "'{' without '}'");
        string name = text.substr(open + 1, close - open - 1);
        if (name.starts_with("a ")) {
            segment.article = true;
            name = name.substr(2);
        }
        if (!name.empty() && std::isupper(static_cast<unsigned char>(name[0]))) {
            segment.capital = true;
            name[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(name[0])));
        }
        if (name.empty()) throw Error(path, where, "an empty slot {}");
        segment.slot = slot(name);
        sentence.push_back(segment);
        start = close + 1;
    }
}

void Grammar::tell(std::uint64_t seed, std::uint64_t index, string& story) const {
    Random random(seed, index);

    // The world. Most heroes have a made name, so that a model learns to copy names; the others one from the list.
    std::vector<string_view> values(slots_.size());
    const Gender hero = pick(2, random) == 0 ? kShe : kHe;
    const Gender companion = pick(2, random) == 0 ? kHe : kShe;
    string made_name;
    if (random.below(10) < 3) {
        values[kHero] = heroes_[hero][pick(heroes_[hero].size(), random)];
    } else {
        do {
            made_name = make_name(random);
        } while (words_.contains(made_name));
        values[kHero] = made_name;
    }
    values[kGirl] = kGirlOrBoy[hero];
    values[kSubject] = kSubjects[hero];
    values[kPossessive] = kPossessives[hero];
    values[kObject] = kObjects[hero];
    values[kFriend] = friends_[companion][pick(friends_[companion].size(), random)];
    values[kFriendSubject] = kSubjects[companion];
    values[kFriendPossessive] = kPossessives[companion];
    const Plot& plot = plots_[pick(plots_.size(), random)];
    for (const Plot* part : {&opening_, &plot}) {
        for (const List& list : part->lists) {
            values[static_cast<size_t>(slots_.find(list.name)->second)] = list.values[pick(list.values.size(), random)];
        }
    }

    // The sentences.
    const size_t begin = story.size();
    for (const Plot* part : {&opening_, &plot}) {
        for (const Choice& choice : part->choices) {
            if (story.size() != begin) story += ' ';
            for (const Segment& segment : choice[pick(choice.size(), random)]) {
                story += segment.text;
                if (segment.slot < 0) continue;
                const string_view value = values[static_cast<size_t>(segment.slot)];
                if (segment.article) story += is_vowel(value[0]) ? "an " : "a ";
                const size_t first = story.size();
                story += value;
                if (segment.capital) story[first] = static_cast<char>(std::toupper(static_cast<unsigned char>(story[first])));
            }
        }
    }
}

}  // namespace llama512::train

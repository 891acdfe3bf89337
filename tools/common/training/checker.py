"""Whether a story makes sense: one hero, one friend, one colour …, matching pronouns, a proper ending, no non-words.

    from common.training.checker import Checker
    checker = Checker("tools/train/fables.grammar")
    checker.problems("Once upon a time, there was a brave girl named Mila. …")    # [] when all is well

The rules come from the grammar that the corpus was told with: its lists, its names and its sentences' words. But a story
need not be one that the grammar could tell: a model may combine what it has learnt in its own way.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import UserError
from common.files import open_file

SLOT = re.compile(r"\{(a )?([A-Za-z.]+)\}")
WORD = re.compile(r"[A-Za-z']+")
NAME = r"[A-Z][a-z]+"
PRONOUNS = {"girl": {"she", "her", "hers", "herself"}, "boy": {"he", "him", "his", "himself"}}
GIRL_OF = {"she": "girl", "he": "boy"}
SLOT_WORDS = {"girl": ["girl", "boy"], "she": ["she", "he"], "her": ["her", "his"], "him": ["her", "him"],
              "friend.she": ["she", "he"], "friend.her": ["her", "his"]}
MIN_HERO_MENTIONS = 3


@dataclass
class Plot:
    """One plot's lists by name, and its sentences: each a list of forms."""

    name: str
    lists: dict[str, list[str]] = field(default_factory=dict)
    choices: list[list[str]] = field(default_factory=list)


class Grammar:
    """A grammar file, read as tools/train/grammar.cpp reads it (which reports its errors)."""

    def __init__(self, path: str | Path) -> None:
        self.heroes: dict[str, list[str]] = {}   # by girl, boy
        self.friends: dict[str, list[str]] = {}  # by girl, boy
        self.opening = Plot("opening")
        self.plots: list[Plot] = []
        try:
            with open_file(path, "grammar") as file:
                lines = file.read().decode("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot read the grammar: {getattr(error, 'strerror', error)}") from error
        for number, line in enumerate(map(str.strip, lines), 1):
            plot = self.plots[-1] if self.plots else self.opening
            head, equals, values = line.partition("=")
            words = head.split()
            if not line or line.startswith("#"):
                continue
            if line[0] == "-":
                plot.choices.append([line[1:].strip()])
            elif line[0] == "|" and plot.choices:
                plot.choices[-1].append(line[1:].strip())
            elif words[0] == "plot":
                self.plots.append(Plot(" ".join(words[1:])))
            elif equals and len(words) == 2:
                parts = [value.strip() for value in values.split("|")]
                if words[0] == "hero":
                    self.heroes[words[1]] = parts
                elif words[0] == "friend":
                    self.friends[GIRL_OF.get(words[1], words[1])] = parts
                else:
                    plot.lists[words[1]] = parts
            else:
                raise UserError(f"{path}: line {number}: {line!r} is no list, plot or sentence")
        if not self.plots or not self.opening.choices or len(self.heroes) != 2 or len(self.friends) != 2:
            raise UserError(f"{path}: an opening, names and at least one plot are needed")

    def lists(self) -> dict[str, list[str]]:
        """Every list by name, with the values of all plots."""
        merged: dict[str, list[str]] = {}
        for plot in [self.opening, *self.plots]:
            for name, values in plot.lists.items():
                merged.setdefault(name, [])
                merged[name] += [value for value in values if value not in merged[name]]
        return merged


class Checker:
    """Checks stories against one grammar."""

    def __init__(self, path: str | Path) -> None:
        self.grammar = Grammar(path)
        self.lists = self.grammar.lists()
        self.friend_gender = {name: gender for gender, names in self.grammar.friends.items() for name in names}
        self.heroes = {name for names in self.grammar.heroes.values() for name in names}
        self.opening = self._pattern(self.grammar.opening.choices[0])
        self.endings = [self._pattern(plot.choices[-1]) for plot in self.grammar.plots]
        self.words = self._lexicon()
        # The words that tell that a sentence is about the friend: its name, or its kind.
        self.kinds = self.lists.get("animal", [])

    def _pattern(self, forms: list[str]) -> re.Pattern[str]:
        """A regular expression for the forms of one sentence. The first hero and girl are groups."""
        def slot(match: re.Match[str]) -> str:
            article, name = match.groups()
            lower = name[0].lower() + name[1:]
            if lower == "hero":
                return NAME
            values = list(self.friend_gender) if lower == "friend" else SLOT_WORDS.get(lower) or self.lists[lower]
            if lower != name:
                values = [value[0].upper() + value[1:] for value in values]
            return ("an? " if article else "") + "(?:" + "|".join(map(re.escape, values)) + ")"

        patterns = []
        for form in forms:
            parts, end = [], 0
            for match in SLOT.finditer(form):
                parts += [re.escape(form[end:match.start()]), slot(match)]
                end = match.end()
            patterns.append("".join([*parts, re.escape(form[end:])]))
        return re.compile("|".join(patterns))

    def _lexicon(self) -> set[str]:
        """Every word that a story may have, other than the hero's name; a sentence's first word in both cases."""
        words = {"a", "an", *self.friend_gender}
        for values in [*self.lists.values(), *SLOT_WORDS.values()]:
            words |= {word for value in values for word in WORD.findall(value)}
        for plot in [self.grammar.opening, *self.grammar.plots]:
            for form in (form for choice in plot.choices for form in choice):
                words |= set(WORD.findall(SLOT.sub(" ", form)))
        return words | {"She", "He"}

    def hero(self, story: str) -> str | None:
        """The hero's name, from the first sentence; None when that is no opening."""
        first = story.split(".", 1)[0] + "."
        return WORD.findall(first)[-1] if self.opening.fullmatch(first) else None

    def problems(self, story: str) -> list[str]:
        """What is wrong with a story, in words; an empty list when all is well."""
        hero = self.hero(story)
        if hero is None:
            return ["opening: the first sentence does not introduce a hero"]
        found: list[str] = []
        gender = "girl" if re.search(r"\bgirl\b", story.split(".", 1)[0]) else "boy"
        words = WORD.findall(story)
        counts = Counter(words)
        sentences = split_sentences(story)

        found += [f"non-word: {word}" for word in dict.fromkeys(words) if word != hero and word not in self.words]
        # One of each list, and all of one plot.
        values: dict[str, str] = {}
        for name, options in self.lists.items():
            present = [value for value in options if re.search(rf"\b{re.escape(value)}\b", story)]
            if len(present) != 1:
                found.append(f"{name}: {', '.join(present) or 'none'}, one is needed")
            else:
                values[name] = present[0]
        if not any(all(values.get(name, options[0]) in options for name, options in plot.lists.items())
                   for plot in self.grammar.plots):
            found.append("plot: " + ", ".join(values.get(name, "?") for name in self.grammar.plots[0].lists)
                         + " do not belong together")
        # One hero, one friend.
        friends = [name for name in self.friend_gender if counts[name] and name != hero]
        if len(friends) != 1:
            found.append(f"friend: {', '.join(friends) or 'none'}, one is needed")
        found += [f"hero: {name} beside {hero}" for name in sorted(self.heroes - {hero}) if counts[name]]
        if counts[hero] < MIN_HERO_MENTIONS:
            found.append(f"hero: {hero} is named {counts[hero]} times, at least {MIN_HERO_MENTIONS} are needed")
        other = "boy" if gender == "girl" else "girl"
        if counts[other]:
            found.append(f"gender: a {gender} becomes a {other}")
        # Pronouns: the friend's where the friend is named and the hero is not, else the hero's.
        friend = friends[0] if friends else None
        for sentence in sentences:
            its = set(WORD.findall(sentence))
            about_friend = hero not in its and (friend in its or any(kind in its for kind in self.kinds))
            owner = self.friend_gender[friend] if about_friend and friend else gender
            wrong = {word.lower() for word in its} & PRONOUNS["boy" if owner == "girl" else "girl"]
            if wrong:
                found.append(f"gender: {', '.join(sorted(wrong))} in: {sentence}")
        # Form.
        found += [f"article: {match[0]}" for match in re.finditer(r"\b[Aa] [aeiou]\w*|\b[Aa]n [^aeiou\W]\w*", story)]
        found += [f"repeated: {text}" for text, n in Counter(sentences).items() if n > 1]
        if story.count('"') % 2:
            found.append("quotes: one is not closed")
        if not any(re.search(rf"(?:^|\. )(?:{ending.pattern})\Z", story) for ending in self.endings):
            found.append(f"ending: none of the grammar's endings: {sentences[-1] if sentences else ''}")
        return found


def split_sentences(story: str) -> list[str]:
    """The sentences, without white space around them; an end inside a quotation counts, too."""
    parts = re.split(r'(?<=[.!?])(?:"(?=\s|$))?\s*', story)
    return [part for part in (part.strip() for part in parts) if part]

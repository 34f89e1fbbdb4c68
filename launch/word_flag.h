// A command-line flag that takes one of some words for a library's option.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"

namespace ds {

template <typename T>
using WordTable = std::vector<std::pair<std::string, T>>;

template <typename T>
std::vector<std::string> WordsOf(const WordTable<T>& table) {
  std::vector<std::string> words;
  for (const auto& [word, value] : table) words.push_back(word);
  return words;
}

// The default in the help is what `field` holds now. `field` must outlive `app`.
template <typename T>
CLI::Option* AddWordFlag(CLI::App& app, const std::string& flag, T& field,
                         const WordTable<T>& table, const std::string& what) {
  CLI::Option* option = app.add_option_function<std::string>(
      flag,
      [&field, table](const std::string& given) {
        for (const auto& [word, value] : table) {
          if (word == given) field = value;
        }
      },
      what);
  for (const auto& [word, value] : table) {
    if (value == field) option->default_str(word);
  }
  return option->check(CLI::IsMember(WordsOf(table)));
}

}  // namespace ds

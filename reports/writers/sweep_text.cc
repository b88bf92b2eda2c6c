// The layout of the sweep table on a terminal.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>

#include "reports/writers/format.h"
#include "reports/writers/sweep_table.h"
#include "reports/writers/terminal_text.h"

namespace kvrm {
namespace {

constexpr std::size_t kLeastAxisWidth = 6;
constexpr std::size_t kLeastEngineWidth = 8;
constexpr std::size_t kHeadLines = 3;  // two of words, then the unit

// A column of text. Words stand at its left; numbers at its right, with room for a "*".
struct TextColumn {
  std::array<std::string, kHeadLines> head;
  std::vector<std::string> cells;  // by row
  std::vector<bool> best;          // by row; empty for words
  std::size_t width = 0;
  std::size_t least = 0;  // a shortened number would be a wrong one

  bool is_number() const { return !best.empty(); }
  std::size_t taken() const { return width + (is_number() ? 2 : 1); }
  std::size_t least_taken() const { return taken() - width + least; }
};

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (std::size_t start = 0; start <= text.size();) {
    const std::size_t end = std::min(text.find(separator, start), text.size());
    parts.emplace_back(text.substr(start, end - start));
    start = end + 1;
  }
  return parts;
}

// Words of a name that its unit says too.
bool says_unit(const std::string& word, std::string_view unit) {
  if (unit == "B") return word == "bytes";
  if (unit == "1/s") return word == "per" || word == "s";
  return (unit == "ms" || unit == "ns" || unit == "s") && word == unit;
}

std::vector<std::string> head_words(const MetricColumn& column) {
  const std::string_view name = column.entry->name;
  std::vector<std::string> words = split(name.substr(name.rfind('.') + 1), '_');
  std::erase_if(words, [&](const std::string& w) { return says_unit(w, column.entry->unit); });
  if (words.empty()) words = {std::string(name.substr(0, name.find('.')))};
  if (!column.percentile.empty()) words.emplace_back(column.percentile);
  return words;
}

// Two lines, the longer one as short as can be; one word stands on the second.
std::pair<std::string, std::string> two_lines(const std::vector<std::string>& words) {
  const auto join = [&](std::size_t first, std::size_t last) {
    std::string text;
    for (std::size_t i = first; i < last; ++i) text += (text.empty() ? "" : " ") + words[i];
    return text;
  };
  std::pair<std::string, std::string> best = {"", join(0, words.size())};
  for (std::size_t cut = 1; cut < words.size(); ++cut) {
    std::pair<std::string, std::string> lines = {join(0, cut), join(cut, words.size())};
    if (std::max(lines.first.size(), lines.second.size()) <
        std::max(best.first.size(), best.second.size())) {
      best = std::move(lines);
    }
  }
  return best;
}

void set_width(TextColumn& column, std::size_t least_word_width) {
  std::size_t cells = 1;
  for (const std::string& cell : column.cells) cells = std::max(cells, cell.size());
  column.width = cells;
  for (const std::string& line : column.head) column.width = std::max(column.width, line.size());
  column.least = column.is_number() ? cells : std::min(column.width, least_word_width);
}

TextColumn metric_column(const SweepTable& table, std::size_t index) {
  TextColumn column;
  const MetricColumn& metric = table.columns[index];
  std::tie(column.head[0], column.head[1]) = two_lines(head_words(metric));
  if (metric.entry->unit != "B") column.head[2] = metric.entry->unit;  // bytes carry their own
  for (const SweepRow& row : table.rows) {
    column.cells.push_back(row.cells[index].text);
    column.best.push_back(row.cells[index].best);
  }
  set_width(column, 0);
  return column;
}

std::vector<TextColumn> row_heads(const SweepTable& table) {
  std::vector<TextColumn> heads;
  const std::vector<std::string> names = axis_heads(table.axes);
  for (std::size_t axis = 0; axis < names.size(); ++axis) {
    TextColumn& column = heads.emplace_back();
    column.head[1] = names[axis];
    for (const SweepRow& row : table.rows) column.cells.push_back(row.axes[axis]);
    set_width(column, kLeastAxisWidth);
  }
  TextColumn& column = heads.emplace_back();
  column.head[1] = "engine";
  for (const SweepRow& row : table.rows) {
    const EngineResult& engine = *row.engine;
    column.cells.push_back(engine.info.label + (carries_metrics(engine.status) ? "" : "!"));
  }
  set_width(column, kLeastEngineWidth);
  return heads;
}

std::size_t sum_of(const std::vector<TextColumn>& columns, std::size_t (TextColumn::*of)() const) {
  std::size_t sum = 0;
  for (const TextColumn& column : columns) sum += (column.*of)();
  return sum;
}

// Takes width from the widest column that can give some, until the line fits or none can.
void fit(std::vector<TextColumn>& columns) {
  while (sum_of(columns, &TextColumn::taken) > kTerminalWidth) {
    TextColumn* widest = nullptr;
    for (TextColumn& column : columns) {
      if (column.width == column.least) continue;
      if (widest == nullptr || column.width > widest->width) widest = &column;
    }
    if (widest == nullptr) return;
    --widest->width;
  }
}

std::string word_cell(const TextColumn& column, const std::string& text) {
  // An alarm's "!" stays where the label is cut.
  const bool alarm = text.ends_with('!') && text.size() > column.width;
  const std::string cut = alarm ? shortened(text.substr(0, text.size() - 1), column.width - 1) + "!"
                                : shortened(text, column.width);
  return fmt::format("{:<{}} ", cut, column.width);
}

std::string line_of(const std::vector<TextColumn>& columns, std::size_t row, bool color) {
  std::string line;
  for (const TextColumn& column : columns) {
    const std::string& text = column.cells[row];
    if (!column.is_number()) {
      const std::string cell = word_cell(column, text);
      line += text.ends_with('!') ? painted(cell, kPaintAlarm, color) : cell;
      continue;
    }
    const std::string cell =
        fmt::format("{:>{}}{}", text, column.width, column.best[row] ? "*" : " ");
    line += " " + (column.best[row] ? painted(cell, kPaintBest, color) : cell);
  }
  return line + "\n";
}

std::string head_of(const std::vector<TextColumn>& columns) {
  std::string out;
  for (std::size_t i = 0; i < kHeadLines; ++i) {
    std::string line;
    for (const TextColumn& column : columns) {
      const std::string text = shortened(column.head[i], column.width);
      line += column.is_number() ? fmt::format(" {:>{}} ", text, column.width)
                                 : fmt::format("{:<{}} ", text, column.width);
    }
    if (line.find_first_not_of(' ') != std::string::npos) out += line + "\n";
  }
  return out;
}

std::string render_part(std::vector<TextColumn> columns, std::size_t rows, bool color) {
  fit(columns);
  std::string out = head_of(columns);
  for (std::size_t row = 0; row < rows; ++row) out += line_of(columns, row, color);
  return out;
}

std::string render_reasons(const SweepTable& table) {
  std::string out;
  for (const SweepRow& row : table.rows) {
    const EngineResult& engine = *row.engine;
    if (engine.status_reason.empty()) continue;
    const std::string point = format_point(engine.point);
    out +=
        wrapped(fmt::format("{}{}{}: {}: {}", point, point.empty() ? "" : ": ", engine.info.label,
                            run_status_name(engine.status), engine.status_reason));
  }
  return out;
}

}  // namespace

std::string render_sweep_text(const SweepTable& table, bool color) {
  const std::vector<TextColumn> heads = row_heads(table);
  std::string out;
  for (std::size_t next = 0; next < table.columns.size();) {
    std::vector<TextColumn> part = heads;
    std::size_t taken = sum_of(part, &TextColumn::least_taken);
    do {  // one column at least
      part.push_back(metric_column(table, next));
      taken += part.back().least_taken();
      ++next;
    } while (next < table.columns.size() &&
             taken + metric_column(table, next).least_taken() <= kTerminalWidth);
    out += (out.empty() ? "" : "\n") + render_part(std::move(part), table.rows.size(), color);
  }
  return out + render_reasons(table);
}

}  // namespace kvrm

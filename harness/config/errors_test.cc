// Every message about whole files, `extends`, --set and --engine, word for word.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "harness/config/test_files.h"

namespace kvrm {
namespace {

using ConfigErrors = ConfigFiles;

struct FileCase {
  std::string file;
  std::string text;
  std::string message;
};

TEST_F(ConfigErrors, OfWholeFiles) {
  std::filesystem::create_directory("folder");
  const std::string small = kSmallExperiment;
  const std::vector<FileCase> cases = {
      {"empty.yaml", "",
       "empty.yaml:1:1: found an empty file, allowed: an experiment, beginning with schema: "
       "kvrm.experiment/1"},
      {"comment.yaml", "# a\n",
       "comment.yaml:1:1: found an empty file, allowed: an experiment, beginning with schema: "
       "kvrm.experiment/1"},
      {"binary.yaml",
       std::string("a: 1\n\x7f"
                   "ELF\0\0",
                   11),
       "binary.yaml:2:1: found a control character, allowed: a YAML text"},
      {"list.yaml", "- 1\n",
       "list.yaml:1:1: found the list [1], allowed: a map of the keys of an experiment"},
      {"cut.yaml", small.substr(0, 170),
       "cut.yaml:5:1: found text that is not YAML (end of map flow not found), allowed: a YAML "
       "map"},
      {"deep.yaml", std::string(100000, '['),
       "deep.yaml:1:1: found text that is not YAML (bad file), allowed: a YAML map"},
      {"comma.yaml", ",", "comma.yaml:1:1: found a second YAML document, allowed: one document"},
      {"large.yaml", std::string((16U << 20) + 1, ' '),
       "large.yaml: found no regular file of at most 16 MiB, allowed: a YAML file"},
  };
  for (const FileCase& file_case : cases) {
    write(file_case.file, file_case.text);
    EXPECT_EQ(message_of(request(file_case.file)), file_case.message);
  }
  EXPECT_EQ(message_of(request("nowhere.yaml")),
            "nowhere.yaml: found no such file, allowed: a YAML file");
  EXPECT_EQ(message_of(request("folder")), "folder: found a directory, allowed: a YAML file");
}

TEST_F(ConfigErrors, ThatCameByExtendsNameTheirFile) {
  std::string base = kSmallExperiment;
  write("sub/base.yaml", base.replace(base.find("layers: 2"), 9, "layers: 0"));
  write("child.yaml", "extends: sub/base.yaml\nname: child\n");
  EXPECT_EQ(
      message_of(request("child.yaml")),
      "sub/base.yaml:5:19: model.shape.layers: found \"0\", allowed: an integer from 1 to 1024");
  write("a.yaml", "name: a\nextends: sub/b.yaml\n");
  write("sub/b.yaml", "extends: ../a.yaml\n");
  EXPECT_EQ(message_of(request("a.yaml")),
            "sub/b.yaml:1:10: extends: found \"../a.yaml\", which leads back to itself, allowed: a "
            "chain of files without a cycle");
}

TEST_F(ConfigErrors, AreOneLineWhateverIsQuoted) {
  write("lines.yaml", "schema: \"a\\nb\\tc\\x7fd\"\n");
  EXPECT_EQ(message_of(request("lines.yaml")),
            "lines.yaml:1:9: schema: found \"a\\nb\\x09c\\x7fd\" (in quotes), allowed: "
            "kvrm.experiment/1");
}

struct SetCase {
  std::vector<std::string> overrides;
  std::string message;
};

TEST_F(ConfigErrors, OfSet) {
  write("small.yaml",
        std::string(kSmallExperiment) + "sweep: [{key: workload.seed, values: [1, 2]}]\n");
  const std::string keys =
      "schema, name, question, extends, model, backend, workload, engines, only_engines, budget, "
      "driver, slo, "
      "sweep, output";
  const std::vector<SetCase> cases = {
      {{"a"}, "--set a: found no key and value, allowed: --set key.path=value"},
      {{"=3"}, "--set =3: found no key and value, allowed: --set key.path=value"},
      {{"a..b=1"},
       "--set a..b=1: a..b: found an empty step of the path, allowed: keys joined by single dots"},
      {{"workload.request=1"},
       "--set workload.request=1: workload.request: found an unknown key \"request\", allowed: "
       "family, seed, requests, samples, arrivals, prompt_tokens, output_tokens, trace; did you "
       "mean "
       "\"requests\"?"},
      {{"workload.requests=-4"},
       "--set workload.requests=-4: workload.requests: found \"-4\", allowed: an integer from 0 to "
       "1000000000"},
      {{"workload.requests="},
       "--set workload.requests=: workload.requests: found nothing, allowed: an integer from 0 to "
       "1000000000"},
      {{"workload.requests=[1"},
       "--set workload.requests=[1: found text that is not YAML (end of sequence flow not found), "
       "allowed: a YAML map"},
      {{"budget.kv_bytes=1KiB"},
       "--set budget.kv_bytes=1KiB: budget.kv_bytes: found 1024 bytes, allowed: at least 8192, one "
       "history of 64 positions at 128 bytes each"},
      {{"engines.kvrm-ful.kind=kvrm"},
       "--set engines.kvrm-ful.kind=kvrm: engines.kvrm-ful.kind: found \"kvrm-ful\", which names "
       "no element of the list, allowed: an index below 2, static, kvrm-full; did you mean "
       "\"kvrm-full\"?"},
      {{"budget.max_len.x=1"},
       "--set budget.max_len.x=1: budget.max_len.x: found \"x\" below a value that is no map, "
       "allowed: keys of maps, indices and labels of lists"},
      {{"model.checkpoint=gone.bin"},
       "--set model.checkpoint=gone.bin: model.checkpoint: found \"@FOLDER@/gone.bin\", which is "
       "no file, allowed: an existing file"},
      {{"study=1"},
       "--set study=1: study: found \"study\", which this version does not support, allowed: " +
           keys},
      {{"model.tile_tokens=32", "engines.0={kind: paged, options: {block_tokens: 48}}"},
       "--set engines.0={kind: paged, options: {block_tokens: 48}}: "
       "engines.0.options.block_tokens: found 48, allowed: a multiple or a divisor of "
       "model.tile_tokens, 32"},
      {{"workload.seed=3"},
       "--set workload.seed=3: workload.seed: found a key that the sweep sets at workload.seed = "
       "1, allowed: keys that no axis sets, or the axis itself, below `sweep`"},
  };
  for (const SetCase& set_case : cases) {
    ParseRequest with_set = request("small.yaml");
    with_set.overrides = set_case.overrides;
    EXPECT_EQ(message_of(with_set), with_folder(set_case.message));
  }
}

TEST_F(ConfigErrors, OfEnginesThatAreNotThere) {
  write("small.yaml", kSmallExperiment);
  ParseRequest only = request("small.yaml");
  only.only_engines = {"kvrm", "kvrm-ful"};
  EXPECT_EQ(message_of(only),
            "--engine kvrm-ful: found no such engine in the experiment, allowed: kvrm, kvrm-full, "
            "static; did you mean \"kvrm-full\"?");
  write("only.yaml", "extends: small.yaml\nonly_engines: [static, statik]\n");
  EXPECT_EQ(message_of(request("only.yaml")),
            "only.yaml:2:24: only_engines: found \"statik\", allowed: kvrm, kvrm-full, static; did "
            "you mean \"static\"?");
  write("none.yaml", "extends: small.yaml\nonly_engines: []\n");
  EXPECT_EQ(message_of(request("none.yaml")),
            "none.yaml:2:15: only_engines: found an empty list, allowed: a list of kvrm, "
            "kvrm-full, static");
}

TEST_F(ConfigErrors, TooManyPoints) {
  std::string values = "[0";
  for (int i = 1; i < 101; ++i) values += fmt::format(", {}", i);
  write("e.yaml", std::string(kSmallExperiment) + "sweep: [{key: workload.seed, values: " + values +
                      "]}, {key: model.seed, values: " + values + "]}]\n");
  EXPECT_EQ(message_of(request("e.yaml")),
            "e.yaml:15:8: sweep: found at least 10201 points, allowed: at most 10000");
}

}  // namespace
}  // namespace kvrm

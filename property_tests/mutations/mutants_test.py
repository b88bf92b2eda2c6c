"""Plants one fault of each kind in a table, in sources and in a program, and expects each check to name it."""
import pathlib
import tempfile
import unittest

import mutants

ROW = "| `pager_off` | `engines/history/a.cc` | breaks it | `kvrm_engines_history_test` `Pager.*` |\n"
SITE = "int f() { return KVRM_MUTATE(pager_off, 1, 2); }\n"


def findings(table, sources):
    with tempfile.TemporaryDirectory() as folder:
        for name, text in sources.items():
            path = pathlib.Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return mutants.compare(mutants.read_table(table), mutants.planted(pathlib.Path(folder)))


class Checks(unittest.TestCase):
    def test_a_row_and_its_place_agree(self):
        self.assertEqual(findings(ROW, {"engines/history/a.cc": SITE}), [])

    def test_names_over_two_lines_are_found(self):
        self.assertEqual(findings(ROW, {"engines/history/a.cc": SITE.replace("(pager", "(\n    pager")}), [])

    def test_a_row_without_a_place(self):
        self.assertIn("nowhere in the sources", findings(ROW, {})[0])

    def test_a_place_without_a_row(self):
        self.assertIn("not in the table", findings("", {"engines/history/a.cc": SITE})[0])

    def test_another_file(self):
        self.assertIn("the table says", findings(ROW, {"engines/history/b.h": SITE})[0])

    def test_a_name_planted_twice(self):
        self.assertIn("the table says", findings(ROW, {"engines/history/a.cc": SITE + SITE})[0])

    def test_a_name_that_stands_twice(self):
        self.assertIn("twice in the table", findings(ROW + ROW, {"engines/history/a.cc": SITE})[0])

    def test_what_is_no_row(self):
        for killer in ("", "equivalent:", "`kvrm_engines_history_test`"):
            with self.assertRaises(ValueError):
                mutants.read_table(ROW.replace("`kvrm_engines_history_test` `Pager.*`", killer))

    def test_equivalent_mutants_have_a_reason_and_no_test(self):
        row = ROW.replace("`kvrm_engines_history_test` `Pager.*`", "equivalent: nobody asks")
        mutant = mutants.read_table(row)[0]
        self.assertEqual((mutant.reason, mutant.program), ("nobody asks", ""))

    def test_a_program_without_traces(self):
        with tempfile.NamedTemporaryFile() as program:
            program.write(b"\x7fELF\0pager\0")
            program.flush()
            self.assertEqual(mutants.traces(program.name, ["pager_off"]), [])

    def test_traces_in_a_program(self):
        for trace in ("KVRM_MUTANT", "_ZN4kvrm8mutation13chosen_mutantE", "pager_off"):
            with tempfile.NamedTemporaryFile() as program:
                program.write(b"\x7fELF\0" + trace.encode() + b"\0")
                program.flush()
                self.assertNotEqual(mutants.traces(program.name, ["pager_off"]), [], trace)


if __name__ == "__main__":
    unittest.main()

# The programs: kvrm (the composition root) and what is installed.

// The limits that containers set, read from made-up file trees of both cgroup versions.
#include "harness/device/machine_limits.h"

#include <gtest/gtest.h>

#include <fstream>
#include <limits>
#include <string>

#include "harness/base/units.h"
#include "harness/device/cpu_device.h"

namespace kvrm {
namespace {

namespace fs = std::filesystem;

class MachineLimits : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    root_ = fs::path(testing::TempDir()) / (std::string("machine_limits_") + test->name());
    fs::remove_all(root_);
    write("proc/meminfo", "MemTotal: 4000 kB\nMemFree: 100 kB\nMemAvailable: 3000 kB\n");
  }
  void TearDown() override { fs::remove_all(root_); }

  void write(const std::string& file, const std::string& text) const {
    fs::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << text;
  }

  fs::path root_;
};

TEST_F(MachineLimits, WithoutACgroupTheMachineIsTheLimit) {
  EXPECT_EQ(available_memory_bytes(root_), 3000 * kKiB);
  EXPECT_EQ(cpu_quota_cores(root_), 0U);
}

TEST_F(MachineLimits, NothingReadableIsNoLimit) {
  EXPECT_EQ(available_memory_bytes(root_ / "absent"), std::numeric_limits<std::uint64_t>::max());
}

TEST_F(MachineLimits, UnifiedHierarchyTakesTheTightestLevel) {
  write("proc/self/cgroup", "0::/outer/inner\n");
  write("sys/fs/cgroup/outer/memory.max", "1000000\n");
  write("sys/fs/cgroup/outer/memory.current", "700000\n");
  write("sys/fs/cgroup/outer/memory.stat", "anon 5\ninactive_file 50000\nactive_file 7\n");
  write("sys/fs/cgroup/outer/inner/memory.max", "max\n");
  write("sys/fs/cgroup/outer/inner/memory.current", "1000\n");
  EXPECT_EQ(available_memory_bytes(root_), 350000U);

  write("sys/fs/cgroup/outer/cpu.max", "250000 100000\n");
  write("sys/fs/cgroup/outer/inner/cpu.max", "max 100000\n");
  EXPECT_EQ(cpu_quota_cores(root_), 3U);
}

TEST_F(MachineLimits, Version1ReadsItsController) {
  write("proc/self/cgroup", "9:name=systemd:/\n4:memory:/job/7\n1:cpu,cpuacct:/job/7\n");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  write("sys/fs/cgroup/memory/memory.usage_in_bytes", "5000\n");
  write("sys/fs/cgroup/memory/job/7/memory.limit_in_bytes", "20000\n");
  write("sys/fs/cgroup/memory/job/7/memory.usage_in_bytes", "30000\n");
  EXPECT_EQ(available_memory_bytes(root_), 0U) << "usage above the limit leaves nothing";
  write("sys/fs/cgroup/memory/job/7/memory.usage_in_bytes", "12000\n");
  write("sys/fs/cgroup/memory/job/7/memory.stat", "inactive_file 1\ntotal_inactive_file 2000\n");
  EXPECT_EQ(available_memory_bytes(root_), 10000U);

  write("sys/fs/cgroup/cpu/job/7/cpu.cfs_quota_us", "-1\n");
  write("sys/fs/cgroup/cpu/job/7/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cpu_quota_cores(root_), 0U);
  write("sys/fs/cgroup/cpu/job/7/cpu.cfs_quota_us", "100001\n");
  EXPECT_EQ(cpu_quota_cores(root_), 2U);
}

TEST_F(MachineLimits, MappingsAreCountedAgainstTheirLimit) {
  EXPECT_EQ(count_mappings(root_).used, 0U);
  EXPECT_EQ(count_mappings(root_).most, std::numeric_limits<std::uint64_t>::max());
  write("proc/self/maps", "1000-2000 r--p 0 00:00 0\n2000-3000 rw-p 0 00:00 0 [heap]\n");
  write("proc/sys/vm/max_map_count", "65530\n");
  EXPECT_EQ(count_mappings(root_).used, 2U);
  EXPECT_EQ(count_mappings(root_).most, 65530U);
}

TEST(MachineLimitsHere, ThisProcessHasMemoryAndCores) {
  EXPECT_GT(available_memory_bytes(), kMiB);
  EXPECT_LT(available_memory_bytes(), std::uint64_t{1} << 50);
  EXPECT_FALSE(process_cores().empty());
}

}  // namespace
}  // namespace kvrm

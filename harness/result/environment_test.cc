// Facts read from a machine that the test makes up, and from the real one.
#include "harness/result/environment.h"

#include <gtest/gtest.h>

#include <fstream>

namespace kvrm {
namespace {

namespace fs = std::filesystem;

class EnvironmentTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    root_ = fs::path(::testing::TempDir()) / (std::string("kvrm_environment_") + test->name());
    fs::remove_all(root_);
  }
  void TearDown() override { fs::remove_all(root_); }

  void put(const std::string& file, const std::string& text) const {
    fs::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << text;
  }
  std::map<std::string, std::string> facts() const {
    return capture_environment({.backend = "cpu", .kernel_target = "avx3", .workers = 2}, "kvrm 9",
                               root_)
        .facts;
  }

  fs::path root_;
};

TEST_F(EnvironmentTest, ReadsWhatTheMachineSays) {
  put("proc/cpuinfo", "processor\t: 0\nmodel\t\t: 17\nmodel name\t: Fast CPU 3000\n");
  put("proc/meminfo", "MemTotal:       2048 kB\nHugePages_Total:       4\n");
  put("proc/loadavg", "0.20 0.18 0.12 1/80 11206\n");
  put("proc/sys/kernel/osrelease", "6.1.0-test\n");
  put("proc/driver/nvidia/version", "NVRM version: NVIDIA 1.2\n");
  put("proc/driver/nvidia/gpus/0/information", "Model: \t\t NVIDIA H100\nIRQ: 3\n");
  put("sys/fs/cgroup/cpu.max", "150000 100000\n");
  put("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
  put("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n");
  put("sys/devices/system/node/node0/cpulist", "0\n");
  put("sys/devices/system/node/node1/cpulist", "1\n");
  put("sys/devices/system/node/nodes_like_this", "no\n");
  auto found = facts();
  EXPECT_EQ(found["cpu"], "Fast CPU 3000");
  EXPECT_EQ(found["memory_bytes"], "2097152");
  EXPECT_EQ(found["huge_pages_reserved"], "4");
  EXPECT_EQ(found["load_average"], "0.20 0.18 0.12");
  EXPECT_EQ(found["kernel"], "6.1.0-test");
  EXPECT_EQ(found["gpu"], "NVIDIA H100");
  EXPECT_EQ(found["gpu_driver"], "NVRM version: NVIDIA 1.2");
  EXPECT_EQ(found["cpu_quota"], "1.5");
  EXPECT_EQ(found["huge_pages"], "madvise");
  EXPECT_EQ(found["cpu_governor"], "performance");
  EXPECT_EQ(found["numa_nodes"], "2");
  EXPECT_EQ(found["version"], "kvrm 9");
  EXPECT_EQ(found["backend"], "cpu");
  EXPECT_EQ(found["kernel_target"], "avx3");
  EXPECT_EQ(found["workers"], "2");
}

TEST_F(EnvironmentTest, WhatCannotBeReadIsSaidNotLeftOut) {
  auto found = facts();
  for (const char* key : {"cpu", "memory_bytes", "cpu_governor", "huge_pages", "numa_nodes",
                          "kernel", "load_average", "huge_pages_reserved"}) {
    EXPECT_EQ(found[key], "unknown") << key;
  }
  EXPECT_EQ(found["gpu"], "none");
  EXPECT_EQ(found["gpu_driver"], "none");
  EXPECT_EQ(found["cpu_quota"], "none");
}

TEST_F(EnvironmentTest, UnlimitedQuotasAreNone) {
  put("sys/fs/cgroup/cpu.max", "max 100000\n");
  EXPECT_EQ(facts()["cpu_quota"], "none");
  fs::remove(root_ / "sys/fs/cgroup/cpu.max");
  put("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
  put("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(facts()["cpu_quota"], "none");
  put("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000\n");
  EXPECT_EQ(facts()["cpu_quota"], "2");
}

TEST_F(EnvironmentTest, BuildFactsAreThere) {
  auto found = facts();
  EXPECT_FALSE(found["compiler"].empty());
  EXPECT_NE(found["compile_flags"].find("-ffp-contract=off"), std::string::npos);
  EXPECT_EQ(found["time_utc"].size(), std::string("2026-01-31T23:59:59Z").size());
}

}  // namespace
}  // namespace kvrm

// Pages of a pool in views: whatever was mapped and unmapped, a view shows what a plain copy of the
// pool's pages would, and its neighbours what they showed before.
#include "harness/device/page_mapper.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "harness/base/prng.h"
#include "harness/base/units.h"
#include "harness/device/chain_program.h"
#include "harness/device/machine_limits.h"

namespace kvrm {
namespace {

class PageMapperTest : public testing::Test {
 protected:
  std::unique_ptr<Device> device_ = make_device({.workers = 1});
  PageMapper& mapper_ = *device_->page_mapper();
  const std::size_t page_ = mapper_.page_bytes();
};

std::uint64_t kv_held(const Device& device) {
  return device.memory().bytes[static_cast<std::size_t>(MemoryPurpose::kv_pool)];
}

std::byte content(std::uint64_t page, std::uint64_t version) {
  return static_cast<std::byte>(mix64(page * 1000 + version) % 255 + 1);
}

void fill_page(const Buffer& pool, std::size_t page_bytes, std::size_t page,
               std::uint64_t version) {
  std::fill_n(pool.data() + page * page_bytes, page_bytes, content(page, version));
}

// Mappings that overlap the view.
std::size_t mappings_of(const std::byte* data, std::size_t bytes) {
  const auto first = reinterpret_cast<std::uintptr_t>(data);
  std::ifstream in("/proc/self/maps");
  std::size_t count = 0;
  for (std::string line; std::getline(in, line);) {
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) != 2) continue;
    count += begin < first + bytes && first < end ? 1 : 0;
  }
  return count;
}

bool shows(const std::byte* page, std::size_t page_bytes, std::byte value) {
  return std::all_of(page, page + page_bytes, [&](std::byte byte) { return byte == value; });
}

// The reference: which page of which pool each page of the view shows, none for zeros.
struct Shown {
  std::size_t pool = 0;
  std::size_t page = 0;
};

class MapModel {
 public:
  static constexpr std::size_t kPools = 2;
  static constexpr std::size_t kPoolPages = 12;
  static constexpr std::size_t kViewPages = 20;

  MapModel() : device_(make_device({.workers = 1})), mapper_(*device_->page_mapper()) {
    for (std::size_t pool = 0; pool < kPools; ++pool) {
      pools_.push_back(*mapper_.allocate_pool(kPoolPages * page()));
    }
    view_ = *mapper_.reserve_view(kViewPages * page());
    shown_.resize(kViewPages);
    versions_.assign(kPools * kPoolPages, 0);
    for (std::size_t pool = 0; pool < kPools; ++pool) {
      for (std::size_t i = 0; i < kPoolPages; ++i) write(pool, i);
    }
  }

  std::size_t page() const { return mapper_.page_bytes(); }

  void write(std::size_t pool, std::size_t index) {
    const std::size_t id = pool * kPoolPages + index;
    std::fill_n(pools_[pool].data() + index * page(), page(), content(id, ++versions_[id]));
  }

  void map(std::size_t place, std::size_t pool, std::size_t first, std::size_t pages) {
    RC_ASSERT(view_.map(
        pools_[pool],
        {.view_offset = place * page(), .pool_offset = first * page(), .bytes = pages * page()}));
    for (std::size_t i = 0; i < pages; ++i) shown_[place + i] = Shown{pool, first + i};
    ++calls_;
    bytes_ += pages * page();
  }

  void unmap(std::size_t place, std::size_t pages) {
    RC_ASSERT(view_.unmap(place * page(), pages * page()));
    for (std::size_t i = 0; i < pages; ++i) shown_[place + i].reset();
    ++calls_;
  }

  void check() const {
    for (std::size_t i = 0; i < kViewPages; ++i) {
      std::byte expected{0};
      if (shown_[i]) {
        const std::size_t id = shown_[i]->pool * kPoolPages + shown_[i]->page;
        expected = content(id, versions_[id]);
      }
      RC_ASSERT(shows(view_.data() + i * page(), page(), expected));
    }
    RC_ASSERT(mapper_.counters().calls == calls_);
    RC_ASSERT(mapper_.counters().bytes == bytes_);
  }

 private:
  std::unique_ptr<Device> device_;
  PageMapper& mapper_;
  std::vector<Buffer> pools_;
  MappedView view_;
  std::vector<std::optional<Shown>> shown_;
  std::vector<std::uint64_t> versions_;
  std::uint64_t calls_ = 0;
  std::uint64_t bytes_ = 0;
};

RC_GTEST_PROP(PageMapper, AViewShowsWhatWasMappedLast, ()) {
  MapModel model;
  const auto below = [](std::size_t end) { return *rc::gen::inRange<std::size_t>(0, end); };
  const std::size_t steps = below(40);
  for (std::size_t step = 0; step < steps; ++step) {
    const std::size_t what = below(5);
    const std::size_t pages = 1 + below(5);
    const std::size_t place = below(MapModel::kViewPages - pages + 1);
    if (what == 0) {
      model.write(below(MapModel::kPools), below(MapModel::kPoolPages));
    } else if (what == 1) {
      model.unmap(place, pages);
    } else {
      model.map(place, below(MapModel::kPools), below(MapModel::kPoolPages - pages + 1), pages);
    }
    model.check();
  }
}

TEST_F(PageMapperTest, APoolIsZeroedAccountedAndGivenBack) {
  {
    const auto pool = mapper_.allocate_pool(3 * page_ + 5);
    ASSERT_TRUE(pool.has_value()) << pool.error().message;
    EXPECT_EQ(kv_held(*device_), 3 * page_ + 5);
    const auto bytes = pool->as<std::byte>();
    EXPECT_TRUE(std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; }));
    // The last page is whole, whatever was asked for.
    MappedView view = *mapper_.reserve_view(4 * page_);
    EXPECT_EQ(kv_held(*device_), 3 * page_ + 5) << "a view takes no memory";
    ASSERT_TRUE(view.map(*pool, {.view_offset = 0, .pool_offset = 0, .bytes = 4 * page_}));
    std::ranges::fill(bytes, std::byte{7});
    EXPECT_EQ(view.data()[3 * page_ + 4], std::byte{7});
    EXPECT_EQ(view.data()[3 * page_ + 5], std::byte{0});
  }
  EXPECT_EQ(kv_held(*device_), 0U);
  EXPECT_TRUE(mapper_.allocate_pool(0).has_value());
}

// Address space costs nothing, so that a view may be larger than the machine's memory.
TEST_F(PageMapperTest, ViewsWorkBeyondTwoToThe32) {
  const auto pool = mapper_.allocate_pool(2 * page_);
  fill_page(*pool, page_, 1, 1);
  const std::size_t far = 9 * kGiB;
  MappedView view = *mapper_.reserve_view(12 * kGiB);
  ASSERT_TRUE(view.map(*pool, {.view_offset = far, .pool_offset = page_, .bytes = page_}));
  EXPECT_TRUE(shows(view.data() + far, page_, content(1, 1)));
  for (const std::size_t place : {std::size_t{0}, kGiB, 5 * kGiB, far - page_, far + page_}) {
    EXPECT_TRUE(shows(view.data() + place, page_, std::byte{0})) << place;
  }
  ASSERT_TRUE(view.unmap(far, page_));
  EXPECT_TRUE(shows(view.data() + far, page_, std::byte{0}));
}

std::size_t open_files() {
  const auto files = std::filesystem::directory_iterator("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(files), end(files)));
}

TEST_F(PageMapperTest, NoFileIsLeftOpen) {
  const std::size_t before = open_files();
  {
    const auto pool = mapper_.allocate_pool(page_);
    EXPECT_EQ(open_files(), before + 1);
  }
  EXPECT_EQ(open_files(), before);
}

TEST_F(PageMapperTest, MovingAViewKeepsItsAddressAndGivesTheOldOneBack) {
  const auto pool = mapper_.allocate_pool(2 * page_);
  fill_page(*pool, page_, 1, 1);
  MappedView first = *mapper_.reserve_view(page_);
  MappedView second = *mapper_.reserve_view(1000 * page_);
  ASSERT_TRUE(first.map(*pool, {.view_offset = 0, .pool_offset = page_, .bytes = page_}));
  const std::byte* data = first.data();
  const std::byte* old = second.data();
  ASSERT_GT(mappings_of(old, 1000 * page_), 0U);
  second = std::move(first);
  EXPECT_EQ(second.data(), data);
  EXPECT_TRUE(shows(data, page_, content(1, 1)));
  EXPECT_EQ(mappings_of(old + page_, 998 * page_), 0U);
  EXPECT_TRUE(second.unmap(0, page_));
  EXPECT_TRUE(shows(data, page_, std::byte{0}));
}

TEST_F(PageMapperTest, TheMachinesMemoryAndTheDevicesLimitAreErrors) {
  const auto pool = mapper_.allocate_pool(std::size_t{1} << 50);
  ASSERT_FALSE(pool.has_value());
  EXPECT_NE(pool.error().message.find("may still take"), std::string::npos);
  const auto small = make_device({.workers = 1, .memory_limit_bytes = kMiB});
  const auto fits = small->page_mapper()->allocate_pool(kMiB);
  EXPECT_TRUE(fits.has_value());
  const auto refused = small->allocate(MemoryPurpose::kv_pool, 1);
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message.find("of the limit of 1.00 MiB"), std::string::npos);
}

TEST_F(PageMapperTest, AFailingSystemCallIsNamed) {
  const auto device = make_device({.workers = 1, .memory_limit_bytes = ~std::uint64_t{0}});
  PageMapper& mapper = *device->page_mapper();
  const auto expect_named = [](const auto& failed, const char* call) {
    ASSERT_FALSE(failed.has_value());
    EXPECT_EQ(failed.error().code, ExitCode::incomplete);
    EXPECT_EQ(failed.error().message.rfind(call, 0), 0U) << failed.error().message;
  };
  expect_named(mapper.allocate_pool(std::size_t{1} << 63), "ftruncate");
  expect_named(mapper.allocate_pool(std::size_t{1} << 50), "mmap");
  expect_named(mapper.reserve_view(std::size_t{1} << 48), "mmap");
  EXPECT_EQ(kv_held(*device), 0U);
  const std::size_t files = open_files();
  EXPECT_FALSE(mapper.allocate_pool(std::size_t{1} << 63).has_value());
  EXPECT_FALSE(mapper.allocate_pool(std::size_t{1} << 50).has_value());
  EXPECT_EQ(open_files(), files);
}

TEST_F(PageMapperTest, SpansBeyondTheLimitOnMappingsAreRefusedWithTheNumbers) {
  const std::uint64_t used = count_mappings("/").used;
  const std::uint64_t most = 16 * (used + 64);
  const auto device = make_device({.workers = 1, .max_mappings = most});
  const PageMapper& mapper = *device->page_mapper();
  // A sixteenth is kept free; the process may have a few mappings more by now.
  const std::uint64_t free = most - most / 16 - used;
  EXPECT_TRUE(mapper.check_spans(0));
  EXPECT_TRUE(mapper.check_spans(free - 32));
  const Status refused = mapper.check_spans(free + 32);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ExitCode::incomplete);
  const std::string& message = refused.error().message;
  for (const std::uint64_t number : {free + 32, most, most / 16}) {
    EXPECT_NE(message.find(std::to_string(number)), std::string::npos) << message;
  }
  EXPECT_FALSE(mapper.check_spans(~std::uint64_t{0}));
  EXPECT_TRUE(mapper_.check_spans(1)) << "the system's own limit";
  EXPECT_FALSE(mapper_.check_spans(count_mappings("/").most));
}

TEST_F(PageMapperTest, SeparateSpansAreTheMappingsThatTheyWereCountedAs) {
  const auto pool = mapper_.allocate_pool(64 * page_);
  MappedView view = *mapper_.reserve_view(64 * page_);
  for (std::size_t i = 0; i < 64; ++i) {  // backwards, so that no two neighbours join
    ASSERT_TRUE(view.map(
        *pool, {.view_offset = i * page_, .pool_offset = (63 - i) * page_, .bytes = page_}));
  }
  EXPECT_EQ(mappings_of(view.data(), 64 * page_), 64U);
  ASSERT_TRUE(view.map(*pool, {.view_offset = 0, .pool_offset = 0, .bytes = 64 * page_}));
  EXPECT_EQ(mappings_of(view.data(), 64 * page_), 1U);
}

TEST(PageMapperDeathTest, SpansOutsideTheViewOrThePoolAreMistakes) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  const auto device = make_device({.workers = 1});
  PageMapper& mapper = *device->page_mapper();
  const std::size_t page = mapper.page_bytes();
  const auto pool = mapper.allocate_pool(2 * page);
  const auto plain = device->allocate(MemoryPurpose::kv_pool, 2 * page);
  MappedView view = *mapper.reserve_view(2 * page);
  EXPECT_DEATH(static_cast<void>(view.map(*pool, {page, 0, 2 * page})), "");
  EXPECT_DEATH(static_cast<void>(view.map(*pool, {0, page, 2 * page})), "");
  EXPECT_DEATH(static_cast<void>(view.map(*pool, {1, 0, page})), "");
  EXPECT_DEATH(static_cast<void>(view.map(*plain, {0, 0, page})), "");
  EXPECT_DEATH(static_cast<void>(view.unmap(2 * page, page)), "");
  ASSERT_TRUE(view.map(*pool, {0, 0, page}));
  for (const std::size_t shown : {std::size_t{0}, page}) {
    EXPECT_DEATH(*const_cast<std::byte*>(view.data() + shown) = std::byte{1}, "")
        << "views are not written";
  }
}

}  // namespace
}  // namespace kvrm

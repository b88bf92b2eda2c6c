// Maps pages of a pool into contiguous views of the address space, so that scattered memory can be
// read in one piece without a copy. A capability that a device may have (Device::page_mapper()).
// What is mapped where, and when nothing in flight reads it, is the engines' business.
#pragma once

#include <cstddef>
#include <cstdint>

#include "harness/base/result.h"
#include "harness/device/device.h"

namespace kvrm {

// Since the mapper was made.
struct MapCounters {
  std::uint64_t calls = 0;  // system calls that changed what a view shows
  std::uint64_t bytes = 0;  // of pools, mapped into views
};

// A span of pages; all three are multiples of PageMapper::page_bytes().
struct MapSpan {
  std::size_t view_offset = 0;
  std::size_t pool_offset = 0;
  std::size_t bytes = 0;
};

// Address space with an owner, readable throughout and never writable: where nothing is mapped it
// reads as zeros and takes no memory, so that a kernel may read a whole tile whose tail lies past
// what is mapped. The mapper must outlive it.
class MappedView {
 public:
  MappedView() = default;
  MappedView(PageMapper& mapper, std::byte* data, std::size_t bytes);
  MappedView(const MappedView&) = delete;
  MappedView& operator=(const MappedView&) = delete;
  MappedView(MappedView&& other) noexcept;
  MappedView& operator=(MappedView&& other) noexcept;
  ~MappedView();

  const std::byte* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

  // Shows the pool's pages there instead of what was there before, already in the page tables when
  // it returns. Neighbours keep what they show. `pool` is an allocate_pool()'s and stays until its
  // pages are unmapped. An error names the system call, and leaves the span as zeros where the
  // system lets it.
  Status map(const Buffer& pool, const MapSpan& span);
  // Zeros again.
  Status unmap(std::size_t offset, std::size_t bytes);

 private:
  void check_span(std::size_t offset, std::size_t bytes) const;

  PageMapper* mapper_ = nullptr;
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

class PageMapper {
 public:
  virtual ~PageMapper() = default;

  // The least that can be mapped, a power of two.
  std::size_t page_bytes() const { return do_page_bytes(); }
  // Zeroed memory on pages of that size that can be mapped into views; accounted as KV pool like
  // any other, all of it brought in.
  Result<Buffer> allocate_pool(std::size_t bytes) { return do_allocate_pool(bytes); }
  // `bytes` is a positive multiple of page_bytes().
  Result<MappedView> reserve_view(std::size_t bytes) { return do_reserve_view(bytes); }
  // Whether so many more separate spans can be mapped at once; the error states the numbers.
  Status check_spans(std::uint64_t spans) const { return do_check_spans(spans); }
  MapCounters counters() const { return do_counters(); }

 private:
  friend class MappedView;
  virtual std::size_t do_page_bytes() const = 0;
  virtual Result<Buffer> do_allocate_pool(std::size_t bytes) = 0;
  virtual Result<MappedView> do_reserve_view(std::size_t bytes) = 0;
  virtual Status do_check_spans(std::uint64_t spans) const = 0;
  virtual MapCounters do_counters() const = 0;
  virtual Status do_map(std::byte* place, const Buffer& pool, const MapSpan& span) = 0;
  virtual Status do_unmap(std::byte* place, std::size_t bytes) = 0;
  virtual void do_release_view(std::byte* data, std::size_t bytes) = 0;
};

}  // namespace kvrm

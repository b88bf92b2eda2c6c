#include "harness/device/page_mapper.h"

#include <utility>

#include "harness/base/check.h"

namespace kvrm {

MappedView::MappedView(PageMapper& mapper, std::byte* data, std::size_t bytes)
    : mapper_(&mapper), data_(data), bytes_(bytes) {}

MappedView::MappedView(MappedView&& other) noexcept
    : mapper_(std::exchange(other.mapper_, nullptr)),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)) {}

MappedView& MappedView::operator=(MappedView&& other) noexcept {
  if (this == &other) return *this;
  MappedView old(std::move(*this));
  mapper_ = std::exchange(other.mapper_, nullptr);
  data_ = std::exchange(other.data_, nullptr);
  bytes_ = std::exchange(other.bytes_, 0);
  return *this;
}

MappedView::~MappedView() {
  if (mapper_ != nullptr) mapper_->do_release_view(data_, bytes_);
}

void MappedView::check_span(std::size_t offset, std::size_t bytes) const {
  KVRM_CHECK(mapper_ != nullptr);
  KVRM_CHECK_EQ(offset % mapper_->page_bytes(), 0U);
  KVRM_CHECK_EQ(bytes % mapper_->page_bytes(), 0U);
  KVRM_CHECK_LT(0U, bytes);
  KVRM_CHECK_LE(offset, bytes_);
  KVRM_CHECK_LE(bytes, bytes_ - offset);
}

Status MappedView::map(const Buffer& pool, const MapSpan& span) {
  check_span(span.view_offset, span.bytes);
  KVRM_CHECK_EQ(span.pool_offset % mapper_->page_bytes(), 0U);
  // A pool's last page may hold more than was asked for.
  KVRM_CHECK_LT(span.pool_offset, pool.bytes());
  KVRM_CHECK_LT(span.bytes - mapper_->page_bytes(), pool.bytes() - span.pool_offset);
  return mapper_->do_map(data_ + span.view_offset, pool, span);
}

Status MappedView::unmap(std::size_t offset, std::size_t bytes) {
  check_span(offset, bytes);
  return mapper_->do_unmap(data_ + offset, bytes);
}

}  // namespace kvrm

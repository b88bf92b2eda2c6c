#include "engines/kvrm/control_plane_device.h"

#include <sys/mman.h>

#include <utility>

namespace kvrm {
namespace {

std::byte* reserve_addresses(std::size_t bytes) {
  void* data = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return data == MAP_FAILED ? nullptr : static_cast<std::byte*>(data);
}

}  // namespace

ControlPlaneDevice::ControlPlaneDevice(std::unique_ptr<Device> device, MappingWork mapping)
    : device_(std::move(device)), mapping_(mapping) {}

// Other memory belongs to the device behind, which frees it itself.
Result<Buffer> ControlPlaneDevice::do_allocate(const AllocationSpec& spec) {
  const bool kv = spec.purpose == MemoryPurpose::kv_pool || spec.purpose == MemoryPurpose::kv_view;
  if (!kv) return device_->allocate(spec);
  std::byte* data = reserve_addresses(spec.bytes);
  if (data == nullptr) return bad_input("no address space for KV that is never touched");
  return Buffer(*this, data, spec.bytes, spec.purpose);
}

void ControlPlaneDevice::do_free(std::byte* data, std::size_t bytes, MemoryPurpose) {
  munmap(data, bytes);
}

Result<MappedView> ControlPlaneDevice::Mapper::do_reserve_view(std::size_t bytes) {
  std::byte* data = reserve_addresses(bytes);
  if (data == nullptr) return bad_input("no address space for a view that is never touched");
  return MappedView(*this, data, bytes);
}

void ControlPlaneDevice::Mapper::do_release_view(std::byte* data, std::size_t bytes) {
  munmap(data, bytes);
}

}  // namespace kvrm

#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/StorageImpl.h>
#include <c10/util/intrusive_ptr.h>

#include <cstdint>
#include <map>
#include <mutex>

namespace fovea::nn {

/// Storages of tensors, each once, and which of them are still alive. It keeps none of them alive.
class StorageLedger {
 public:
  void add(const at::Tensor& tensor) {
    if (!tensor.has_storage()) return;
    const auto storage = tensor.storage().getWeakStorageImpl();
    const std::lock_guard lock(mutex_);
    storages_.try_emplace(tensor.storage().unsafeGetStorageImpl(), storage,
                          static_cast<int64_t>(tensor.storage().nbytes()));
  }

  int64_t alive_bytes() const { return sum(/*expired=*/false); }
  int64_t freed_bytes() const { return sum(/*expired=*/true); }

 private:
  int64_t sum(bool expired) const {
    const std::lock_guard lock(mutex_);
    int64_t bytes = 0;
    for (const auto& [address, entry] : storages_)
      bytes += entry.storage.expired() == expired ? entry.bytes : 0;
    return bytes;
  }

  // A weak reference keeps the address from being used again.
  struct Entry {
    Entry(c10::weak_intrusive_ptr<c10::StorageImpl> storage, int64_t bytes)
        : storage(std::move(storage)), bytes(bytes) {}
    c10::weak_intrusive_ptr<c10::StorageImpl> storage;
    int64_t bytes;
  };
  mutable std::mutex mutex_;
  std::map<const c10::StorageImpl*, Entry> storages_;
};

}  // namespace fovea::nn

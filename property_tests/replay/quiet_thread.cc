#include "property_tests/replay/quiet_thread.h"

#include <dlfcn.h>
#include <linux/prctl.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "harness/base/check.h"

namespace kvrm::quiet {
namespace {

thread_local Counts* watching = nullptr;
// Read by the kernel at each system call of a thread that has switched the dispatch on.
thread_local volatile char selector = SYSCALL_DISPATCH_FILTER_ALLOW;

// The call was not made: it is counted, made here, and its result given to whoever made it.
void on_system_call(int, siginfo_t* info, void* context) {
  selector = SYSCALL_DISPATCH_FILTER_ALLOW;
  const int errno_before = errno;
  auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  if (info->si_syscall == SYS_futex) {
    ++watching->futex_calls;
  } else {
    ++watching->calls;
    watching->last_call = info->si_syscall;
  }
  const long result =
      syscall(info->si_syscall, registers[REG_RDI], registers[REG_RSI], registers[REG_RDX],
              registers[REG_R10], registers[REG_R8], registers[REG_R9]);
  registers[REG_RAX] = result == -1 ? -errno : result;
  errno = errno_before;
  selector = SYSCALL_DISPATCH_FILTER_BLOCK;
}

// Where the C library returns from a signal handler: a system call that has to pass. The kernel's
// own struct, which libc does not show, holds it.
unsigned long return_from_signals() {
  struct KernelAction {
    void* handler;
    unsigned long flags;
    unsigned long restorer;
    unsigned long mask;
  } action = {};
  KVRM_CHECK(syscall(SYS_rt_sigaction, SIGSYS, nullptr, &action, sizeof(action.mask)) == 0);
  return action.restorer;
}

bool switch_on(unsigned long passes) {
  constexpr unsigned long kBytesOfReturn = 16;  // a load of the call's number and the call
  return prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, passes, kBytesOfReturn,
               &selector) == 0;
}
bool switch_off() {
  return prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF, 0, 0, nullptr) == 0;
}

}  // namespace

const char* why_not() {
#ifdef KVRM_SANITIZED
  return "sanitizers have their own allocator and locks";
#else
  if (!switch_on(0)) return "the system cannot hand system calls back to a program (Linux 5.11)";
  switch_off();
  return nullptr;
#endif
}

Watch::Watch(Counts& counts) {
  KVRM_CHECK(watching == nullptr);
  struct sigaction action {};
  action.sa_sigaction = on_system_call;
  action.sa_flags = SA_SIGINFO;
  KVRM_CHECK(sigaction(SIGSYS, &action, nullptr) == 0);
  KVRM_CHECK(switch_on(return_from_signals()));
  watching = &counts;
  selector = SYSCALL_DISPATCH_FILTER_BLOCK;
}

Watch::~Watch() {
  selector = SYSCALL_DISPATCH_FILTER_ALLOW;
  watching = nullptr;
  KVRM_CHECK(switch_off());
}

LookAway::LookAway() : counts_(watching) {
  selector = SYSCALL_DISPATCH_FILTER_ALLOW;
  watching = nullptr;
}

LookAway::~LookAway() {
  watching = counts_;
  if (watching != nullptr) selector = SYSCALL_DISPATCH_FILTER_BLOCK;
}

}  // namespace kvrm::quiet

#ifndef KVRM_SANITIZED

namespace kvrm::quiet {
namespace {

void count_allocation() {
  if (watching != nullptr) ++watching->allocations;
}
void count_lock() {
  if (watching != nullptr) ++watching->locks;
}

}  // namespace
}  // namespace kvrm::quiet

// The C library's own entry points under other names: what dlsym() gives may allocate on its way.
extern "C" {

void* __libc_malloc(std::size_t bytes);
void* __libc_calloc(std::size_t count, std::size_t bytes);
void* __libc_realloc(void* memory, std::size_t bytes);
void* __libc_memalign(std::size_t alignment, std::size_t bytes);

void* malloc(std::size_t bytes) {
  kvrm::quiet::count_allocation();
  return __libc_malloc(bytes);
}
void* calloc(std::size_t count, std::size_t bytes) {
  kvrm::quiet::count_allocation();
  return __libc_calloc(count, bytes);
}
void* realloc(void* memory, std::size_t bytes) {
  kvrm::quiet::count_allocation();
  return __libc_realloc(memory, bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
  kvrm::quiet::count_allocation();
  return __libc_memalign(alignment, bytes);
}
int posix_memalign(void** memory, std::size_t alignment, std::size_t bytes) {
  kvrm::quiet::count_allocation();
  *memory = __libc_memalign(alignment, bytes);
  return *memory == nullptr ? ENOMEM : 0;
}

// Mutexes, by the name that std::mutex uses; the originals are looked for once.
int pthread_mutex_lock(pthread_mutex_t* mutex) {
  static const auto original =
      reinterpret_cast<int (*)(pthread_mutex_t*)>(dlsym(RTLD_NEXT, "pthread_mutex_lock"));
  kvrm::quiet::count_lock();
  return original(mutex);
}
int pthread_mutex_trylock(pthread_mutex_t* mutex) {
  static const auto original =
      reinterpret_cast<int (*)(pthread_mutex_t*)>(dlsym(RTLD_NEXT, "pthread_mutex_trylock"));
  kvrm::quiet::count_lock();
  return original(mutex);
}
int pthread_rwlock_rdlock(pthread_rwlock_t* lock) {
  static const auto original =
      reinterpret_cast<int (*)(pthread_rwlock_t*)>(dlsym(RTLD_NEXT, "pthread_rwlock_rdlock"));
  kvrm::quiet::count_lock();
  return original(lock);
}
int pthread_rwlock_wrlock(pthread_rwlock_t* lock) {
  static const auto original =
      reinterpret_cast<int (*)(pthread_rwlock_t*)>(dlsym(RTLD_NEXT, "pthread_rwlock_wrlock"));
  kvrm::quiet::count_lock();
  return original(lock);
}

}  // extern "C"

#endif

#include "workloads/generators/arrivals.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "harness/base/check.h"

namespace kvrm {
namespace {

constexpr double kSecondsPerMinute = 60;

// Past the last representable time (292 years) every arrival is at it.
Nanoseconds to_nanoseconds(double seconds) {
  constexpr double kLastSecond = 9.2e9;
  return static_cast<Nanoseconds>(std::llround(std::min(seconds, kLastSecond) * 1e9));
}

class ClosedArrivals final : public ArrivalSource {
 private:
  std::optional<Nanoseconds> do_next() override { return 0; }
};

// Gaps are gamma distributed: shape 1 / cv^2, which is Poisson at cv = 1.
class GammaArrivals final : public ArrivalSource {
 public:
  GammaArrivals(double rate_per_s, double cv, RandomStream random)
      : shape_(1 / (cv * cv)), scale_(cv * cv / rate_per_s), random_(random) {}

 private:
  std::optional<Nanoseconds> do_next() override {
    now_s_ += random_.gamma(shape_, scale_);
    return to_nanoseconds(now_s_);
  }

  double shape_;
  double scale_;
  RandomStream random_;
  double now_s_ = 0;
};

class PoissonArrivals final : public ArrivalSource {
 public:
  PoissonArrivals(double rate_per_s, RandomStream random)
      : mean_gap_s_(1 / rate_per_s), random_(random) {}

 private:
  std::optional<Nanoseconds> do_next() override {
    now_s_ += random_.exponential(mean_gap_s_);
    return to_nanoseconds(now_s_);
  }

  double mean_gap_s_;
  RandomStream random_;
  double now_s_ = 0;
};

// Poisson on a clock that stands still while the source is off.
class OnOffArrivals final : public ArrivalSource {
 public:
  OnOffArrivals(const ArrivalSpec& spec, RandomStream random)
      : on_s_(spec.on_s),
        off_s_(spec.off_s),
        mean_gap_s_(spec.on_s / (spec.on_s + spec.off_s) / spec.rate_per_s),
        random_(random) {}

 private:
  std::optional<Nanoseconds> do_next() override {
    on_clock_s_ += random_.exponential(mean_gap_s_);
    return to_nanoseconds(on_clock_s_ + std::floor(on_clock_s_ / on_s_) * off_s_);
  }

  double on_s_;
  double off_s_;
  double mean_gap_s_;  // while on
  RandomStream random_;
  double on_clock_s_ = 0;
};

// Poisson with a rate that is constant within each minute: unit-rate arrivals mapped back through
// the integral of the rate (time change of a Poisson process).
class PerMinuteArrivals final : public ArrivalSource {
 public:
  PerMinuteArrivals(const ArrivalSpec& spec, RandomStream random)
      : per_minute_(spec.per_minute), time_multiplier_(spec.time_multiplier), random_(random) {}

 private:
  std::optional<Nanoseconds> do_next() override {
    expected_ += random_.exponential(1);
    while (minute_ < per_minute_.size() && expected_ >= before_minute_ + per_minute_[minute_]) {
      before_minute_ += per_minute_[minute_];
      ++minute_;
    }
    if (minute_ == per_minute_.size()) return std::nullopt;
    const double within = (expected_ - before_minute_) / per_minute_[minute_];
    const double minutes = static_cast<double>(minute_) + within;
    return to_nanoseconds(minutes * kSecondsPerMinute * time_multiplier_);
  }

  std::vector<double> per_minute_;
  double time_multiplier_;
  RandomStream random_;
  double expected_ = 0;       // arrivals expected up to the last one
  double before_minute_ = 0;  // those of all minutes before minute_
  std::size_t minute_ = 0;
};

}  // namespace

std::unique_ptr<ArrivalSource> make_arrivals(const ArrivalSpec& spec, RandomStream random) {
  switch (spec.kind) {
    case ArrivalSpec::Kind::closed:
      return std::make_unique<ClosedArrivals>();
    case ArrivalSpec::Kind::poisson:
      return std::make_unique<PoissonArrivals>(spec.rate_per_s, random);
    case ArrivalSpec::Kind::gamma:
      return std::make_unique<GammaArrivals>(spec.rate_per_s, spec.cv, random);
    case ArrivalSpec::Kind::on_off:
      return std::make_unique<OnOffArrivals>(spec, random);
    case ArrivalSpec::Kind::per_minute:
      return std::make_unique<PerMinuteArrivals>(spec, random);
    case ArrivalSpec::Kind::trace:
      break;
  }
  KVRM_CHECK(spec.kind != ArrivalSpec::Kind::trace);
  return nullptr;
}

}  // namespace kvrm

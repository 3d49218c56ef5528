#pragma once
#include <cmath>
#include <type_traits>

namespace fovea {

/// A score with its derivative by the raw score: run through a functor's text it gives d(functor) / ds.
template <class V>
struct Dual {
  V value, slope;
};

template <class T>
constexpr bool kIsDual = false;
template <class V>
constexpr bool kIsDual<Dual<V>> = true;
template <class T>
concept NotDual = !kIsDual<T>;

template <class V>
Dual<V> operator-(const Dual<V>& a) {
  return {-a.value, -a.slope};
}
template <class V>
Dual<V> operator+(const Dual<V>& a, const Dual<V>& b) {
  return {a.value + b.value, a.slope + b.slope};
}
template <class V>
Dual<V> operator-(const Dual<V>& a, const Dual<V>& b) {
  return {a.value - b.value, a.slope - b.slope};
}
template <class V>
Dual<V> operator*(const Dual<V>& a, const Dual<V>& b) {
  return {a.value * b.value, a.slope * b.value + a.value * b.slope};
}
template <class V>
Dual<V> operator/(const Dual<V>& a, const Dual<V>& b) {
  const V quotient = a.value / b.value;
  return {quotient, (a.slope - quotient * b.slope) / b.value};
}

// With what does not depend on the score.
template <class V, NotDual T>
Dual<V> operator+(const Dual<V>& a, const T& b) {
  return {a.value + b, a.slope};
}
template <class V, NotDual T>
Dual<V> operator+(const T& a, const Dual<V>& b) {
  return {a + b.value, b.slope};
}
template <class V, NotDual T>
Dual<V> operator-(const Dual<V>& a, const T& b) {
  return {a.value - b, a.slope};
}
template <class V, NotDual T>
Dual<V> operator-(const T& a, const Dual<V>& b) {
  return {a - b.value, -b.slope};
}
template <class V, NotDual T>
Dual<V> operator*(const Dual<V>& a, const T& b) {
  return {a.value * b, a.slope * b};
}
template <class V, NotDual T>
Dual<V> operator*(const T& a, const Dual<V>& b) {
  return {a * b.value, a * b.slope};
}
template <class V, NotDual T>
Dual<V> operator/(const Dual<V>& a, const T& b) {
  return {a.value / b, a.slope / b};
}
template <class V, NotDual T>
Dual<V> operator/(const T& a, const Dual<V>& b) {
  const V quotient = a / b.value;
  return {quotient, -quotient * b.slope / b.value};
}

template <class V>
Dual<V> exp(const Dual<V>& a) {
  using std::exp;
  const V power = exp(a.value);
  return {power, power * a.slope};
}

template <class V>
Dual<V> log(const Dual<V>& a) {
  using std::log;
  return {log(a.value), a.slope / a.value};
}

template <class V>
Dual<V> tanh(const Dual<V>& a) {
  using std::tanh;
  const V result = tanh(a.value);
  return {result, (1.0f - result * result) * a.slope};
}

}  // namespace fovea

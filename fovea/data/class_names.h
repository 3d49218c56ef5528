#pragma once
#include <string>
#include <vector>

namespace fovea::data {

/// Names by label. Sources: MNIST; github.com/zalandoresearch/fashion-mnist; Krizhevsky 2009 (the CIFAR sets'
/// own meta files).
const std::vector<std::string>& mnist_classes();
const std::vector<std::string>& fashion_mnist_classes();
const std::vector<std::string>& cifar10_classes();
const std::vector<std::string>& cifar100_classes();
const std::vector<std::string>& cifar100_superclasses();

}  // namespace fovea::data

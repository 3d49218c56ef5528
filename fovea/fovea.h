#pragma once

/// What a program that uses networks needs: attention, networks by name, weights, images, heat maps. Training
/// is apart: fovea/tasks/classify.h.
#include "fovea/core/error.h"
#include "fovea/core/version.h"
#include "fovea/explain/explainer.h"
#include "fovea/explain/heatmap.h"
#include "fovea/io/image.h"
#include "fovea/io/tensors.h"
#include "fovea/models/registry.h"
#include "fovea/models/weights.h"
#include "fovea/ops/attend.h"

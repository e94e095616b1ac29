"""Training: backbones, sampling, hybrid transfer learning, calibration."""

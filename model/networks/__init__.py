"""Networks: settings, layers, losses, augmentation."""

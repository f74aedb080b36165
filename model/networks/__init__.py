"""Networks and what defines them: settings, layers, losses, augmentation."""

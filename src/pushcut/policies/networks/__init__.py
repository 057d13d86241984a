"""The networks of released VLAs: compact definitions under the released parameter names."""

"""The networks themselves: plain torch modules, imported only when one is built."""

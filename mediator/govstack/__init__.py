"""GovStack's faces of a security server (GovStack IM 1.1.1): directory services, test harness."""

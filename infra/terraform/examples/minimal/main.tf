# The least there is to say: the trail's bucket, and where the bundle lies. Makes an OpenSearch domain, and that costs
# money from its first hour on.

terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

provider "aws" {
  region = "eu-central-1" # the bucket's
}

module "trailsink" {
  source = "../.."

  trail_bucket_name = "acme-trail"
  bundle            = "${path.root}/../../../../build/trailsink-arm64-py313.zip"
}

output "dashboards_url" {
  value = module.trailsink.dashboards_url
}

output "next_commands" {
  value = module.trailsink.next_commands
}
